"""Copies one image of a source and decodes the copy, and its mask; or says why it cannot be used."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from meltpoint.data.masks import FOLDER, Masked, mask_path
from meltpoint.depths import Inspected
from meltpoint.errors import UserError
from meltpoint.files import sha256_of
from meltpoint.params.data import MaskLabel

CHUNK = 1_000_000  # bytes

Inspect = Callable[[Path, float], Inspected]
Normalise = Callable[[Path, Path, MaskLabel, tuple[int, int]], NDArray[np.int64]]
Job = tuple[str, str, str]  # path below data/raw, origin, origin of the mask


class CollectError(UserError, ValueError):
    """A dataset cannot be brought in as it is."""


class MaskError(UserError, ValueError):
    """An image whose mask cannot be used."""


@dataclass(frozen=True)
class Copy:
    """An image that was copied and decoded: what it is, its bytes; of its mask, pixels of each class and the sha256."""

    seen: Inspected
    sha256: str
    bytes: int
    pixels: tuple[int, ...]
    mask_sha256: str  # empty without a mask

    @property
    def measured(self) -> dict[str, int | str]:
        """The cells of its row."""
        size = {"width": self.seen.width, "height": self.seen.height}
        return {**size, "sha256": self.sha256, "bytes": self.bytes}


def copy_image(
    folder: Path, max_megapixels: float, inspect: Inspect, normalise: Normalise, masked: Masked | None, job: Job
) -> Copy | str:
    """Copy one image and decode the copy, and its mask; a text is the reason why it cannot be used."""
    target, origin, mask = folder / job[0], Path(job[1]), Path(job[2])
    try:
        if not origin.exists():
            return "no such file"
        if not origin.is_file():
            return "not a file"
        with origin.open("rb") as source:
            sha256, count = _write(source, target)
    except PermissionError:
        return "no permission to read it"
    try:
        seen = inspect(target, max_megapixels)
        pair, size = folder / mask_path(job[0]), (seen.width, seen.height)
        pixels = _paired(mask, pair, masked, normalise, size) if masked else ()
    except UserError as error:
        target.unlink()
        return str(getattr(error, "reason", error))
    return Copy(seen, sha256, count, pixels, sha256_of(pair) if masked else "")


def _paired(mask: Path, target: Path, masked: Masked, normalise: Normalise, size: tuple[int, int]) -> tuple[int, ...]:
    """Write the mask of an image of that `size`; the pixels of each class, and of none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise CollectError(f"An image lies where a mask goes, at data/raw/{FOLDER}/{target.name}. Rename its folder.")
    try:
        return tuple(map(int, normalise(mask, target, masked.label, size)))
    except UserError as error:
        raise MaskError(f"mask {mask.name}: {getattr(error, 'reason', error)}") from error


def _write(source: IO[bytes], target: Path) -> tuple[str, int]:
    """Write a new file; the sha256 and the number of its bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                size += file.write(chunk)
    except FileExistsError:
        raise CollectError(
            f"Two images have one name on this file system: {target.name!r} differs from another in capitals alone. "
            "Rename one of them in the source."
        ) from None
    return digest.hexdigest(), size
