"""The pictures themselves: sizes, formats, what cannot be read, exact copies; a sample where there are many."""

import hashlib
import io
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image

from meltpoint.data.listing import Skipped
from meltpoint.data.origins import Origin, parse_origin
from meltpoint.files import sha256_of
from meltpoint.images.decode import TRANSPOSED, ImageError, decode
from meltpoint.images.dicom import read_size
from meltpoint.images.formats import DICOM_SUFFIXES, has_dicom
from meltpoint.predict.folders import picture_suffixes
from meltpoint.progress import track

HEADERS, CHUNK = 5_000, 16  # headers that are read at most, and pictures that are decoded between looks at the clock
LYING = (5, 6, 7, 8)  # orientations of EXIF whose width is the picture's height
Item = TypeVar("Item")


@dataclass(frozen=True)
class Pictures:
    """What was seen of the pictures.

    decoded: how many were decoded to their end, and `seconds` for one of them on one thread. widths, heights: of those
    whose header was read, and turned: how many of them EXIF turns or mirrors. gone: files that are not there.
    unusable: those and what cannot be used. copies: groups of paths with equal bytes.
    """

    total: int
    decoded: int
    seconds: float
    widths: list[int]
    heights: list[int]
    formats: Counter[str]
    grey: bool
    turned: int = 0
    gone: int = 0
    unusable: list[Skipped] = field(default_factory=list)
    copies: list[list[str]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether all that are there were decoded."""
        return self.decoded == self.total - self.gone

    @property
    def short_side(self) -> int:
        """The median of the shorter sides, in pixels."""
        return round(float(np.median(np.minimum(self.widths, self.heights)))) if self.widths else 0

    @property
    def aspect(self) -> float:
        """The median of the longer side over the shorter."""
        longer, shorter = np.maximum(self.widths, self.heights), np.minimum(self.widths, self.heights)
        return float(np.median(longer / shorter)) if self.widths else 1.0

    @property
    def megapixels(self) -> float:
        """The mean, in units of 10**6 pixels."""
        return float(np.mean(np.multiply(self.widths, self.heights)) / 1e6) if self.widths else 0.0

    @property
    def largest(self) -> float:
        """The largest, in units of 10**6 pixels."""
        return float(np.max(np.multiply(self.widths, self.heights)) / 1e6) if self.widths else 0.0


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture that the pipeline reads."""
    return path.suffix.lower() in picture_suffixes() and not path.name.startswith(".")


def look_at(paths: Sequence[str], origins: Sequence[str], max_megapixels: float, seconds: float) -> Pictures:
    """Read headers and decode pictures for so many seconds, in an order that mixes classes; odd names come first."""
    places = [parse_origin(origin) for origin in origins]
    files = {place.path: place.path.is_file() for place in places}
    there = [files[place.path] for place in places]
    gone = [Skipped(path, "no such file") for path, is_there in zip(paths, there, strict=True) if not is_there]
    order = [number for number, is_there in enumerate(there) if is_there]
    random.Random(0).shuffle(order)  # noqa: S311 - an order, no secret
    order.sort(key=lambda number: is_picture(Path(paths[number])))
    headers = [one for number in order[:HEADERS] if (one := _header_of(places[number]))]
    looked: list[_Look] = []
    with ThreadPoolExecutor() as pool:
        for start in until(track(range(0, len(order), CHUNK), "look at pictures", unit="chunk"), seconds):
            part = order[start : start + CHUNK]
            looked += pool.map(lambda number: _decode(paths[number], places[number], max_megapixels), part)
    refused = [Skipped(one.path, one.reason) for one in looked if one.reason]
    times = [one.seconds for one in looked if one.reason is None]
    return Pictures(
        total=len(paths),
        decoded=len(looked),
        seconds=float(np.median(times)) if times else 0.0,
        widths=[one.width for one in headers],
        heights=[one.height for one in headers],
        formats=Counter(one.kind for one in headers),
        turned=sum(one.turned for one in headers),
        grey=bool(times) and all(one.grey for one in looked if one.reason is None),
        gone=len(gone),
        unusable=sorted([*gone, *refused], key=lambda skipped: skipped.path),
        copies=_copies([(paths[number], places[number]) for number in order], seconds / 2),
    )


@dataclass(frozen=True)
class _Look:
    path: str
    reason: str | None
    seconds: float
    grey: bool


@dataclass(frozen=True)
class Header:
    """What the header of a picture says: its size in pixels as EXIF turns it upright, and its format."""

    width: int
    height: int
    kind: str
    turned: bool


def read_header(path: Path | BinaryIO) -> Header | None:
    """The header of a picture; None if it cannot be read, which the decoder explains."""
    try:
        if isinstance(path, Path) and path.suffix.lower() in DICOM_SUFFIXES and has_dicom():
            return Header(*read_size(path), "DICOM", turned=False)
        with Image.open(path) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            width, height = image.size[::-1] if orientation in LYING else image.size
            return Header(width, height, image.format or "?", orientation in TRANSPOSED)
    except Exception:  # noqa: BLE001 - Pillow raises nearly every kind for damaged files
        return None


def _header_of(place: Origin) -> Header | None:
    return read_header(io.BytesIO(place.read()) if place.is_piece else place.path)


def _decode(path: str, place: Origin, max_megapixels: float) -> _Look:
    start = time.thread_time()
    try:
        pixels = decode(place.read() if place.is_piece else place.path, max_megapixels)
    except ImageError as error:
        return _Look(path, error.reason, 0.0, grey=False)
    spread = pixels[::8, ::8].max(axis=2).astype(int) - pixels[::8, ::8].min(axis=2)
    return _Look(path, None, time.thread_time() - start, bool((spread < 8).all()))


def _copies(named: Iterable[tuple[str, Origin]], seconds: float) -> list[list[str]]:
    """Groups of pictures of one size and one sha256, as far as the time allows."""
    sized = sorted(((place.size, path, place) for path, place in named), key=lambda one: one[:2])
    found: dict[bytes, list[str]] = {}
    for size, members in until(groupby(sized, key=lambda one: one[0]), seconds):
        equal = list(members)
        for _, path, place in equal if len(equal) > 1 and size else []:
            found.setdefault(_digest(place), []).append(path)
    return [group for group in found.values() if len(group) > 1]


def _digest(place: Origin) -> bytes:
    if place.is_piece:
        return hashlib.sha256(place.read()).digest()
    return bytes.fromhex(sha256_of(place.path))


def until(items: Iterable[Item], seconds: float) -> Iterable[Item]:
    """Items until the time is up, and one at least."""
    end = time.monotonic() + seconds
    for item in items:
        yield item
        if time.monotonic() > end:
            return
