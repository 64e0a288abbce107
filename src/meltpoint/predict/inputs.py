"""Whatever holds a picture, file, address, bytes, Pillow image or array, becomes pixels or a reason why not."""

import io
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeGuard, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from meltpoint.arrays import Pixels
from meltpoint.images.decode import ImageError, decode
from meltpoint.images.deep_colour import is_deep_colour
from meltpoint.images.resize import resize
from meltpoint.model.card import Card
from meltpoint.predict.folders import walk
from meltpoint.predict.records import PredictError

ADDRESSES = ("http://", "https://")
TIMEOUT, RETRIES = 15.0, 1  # seconds of silence, and attempts after one that failed in a way that may pass
BYTES_A_PIXEL = 8  # four channels of 16 bits: an honest file is no larger than its pixels
HEADER = 100_000  # bytes that a file may need besides its pixels
IN_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that PNG keeps as they are, transparency included
IN_TIFF = ("I", "F", "CMYK", "LAB", "I;16B", "I;16L")
NEAREST = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}  # others become RGB


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a model takes it, uint8 (S, S, 3), or of one that resizes (H, W, 3), or why there is none.

    `source` is its path or address. `extent` is (H, W) of what was decoded, the picture's own unless its views are
    `draft` and nobody asked to see it. `shown` is the picture itself in a size to be
    looked at, and `whole` in its own, if that was wanted.
    """

    source: str | None
    pixels: Pixels | None
    error: str | None
    extent: tuple[int, int]
    shown: Pixels | None
    whole: Pixels | None


Source = str | Path | bytes | Image.Image | NDArray[np.uint8] | Picture  # the last was read by another process


def expand(sources: Source | Iterable[Source]) -> Iterator[Source]:
    """Single pictures: folders, also those of a list, are replaced by the pictures in them.

    Raises:
        PredictError: something that is no picture and no folder.
    """
    one = isinstance(sources, str | bytes | np.ndarray) or not isinstance(sources, Iterable)
    several = cast("Iterable[Source]", [sources] if one else sources)
    for source in several:
        match source:
            case np.ndarray():
                grey_or_rgb = source.ndim == 2 or (source.ndim == 3 and source.shape[2] == 3)
                if source.dtype != np.uint8 or not grey_or_rgb or not source.size:
                    raise PredictError(
                        f"An array of {source.dtype} {source.shape} is no picture. Allowed are uint8 (H, W, 3), red "
                        "before green before blue, and uint8 (H, W), grey. Convert it, or give the file."
                    )
            case str() | Path() | bytes() | Image.Image() | Picture():
                pass
            case _:
                raise PredictError(
                    f"{type(source).__name__} is no picture. Allowed are a path, an http(s) address, the bytes of a "
                    "file, a Pillow image, an array uint8 (H, W, 3) or (H, W), a folder, or a list of these."
                )
        if isinstance(source, str | Path) and not is_address(source) and Path(source).is_dir():
            yield from walk(Path(source), Counter())
        else:
            yield source


def is_single(sources: object) -> bool:
    """Whether it is one picture: no folder, and nothing to go through."""
    if isinstance(sources, str | Path):
        return is_address(sources) or not Path(sources).is_dir()
    return isinstance(sources, bytes | Image.Image | np.ndarray)


def is_address(source: object) -> TypeGuard[str]:
    """Whether it is an http or https address."""
    return isinstance(source, str) and source.lower().startswith(ADDRESSES)


def read_picture(source: Source, card: Card, side: int | None, whole: bool, as_is: bool = False) -> Picture:
    """Decode and resize as in training; `side`: keep the picture itself too, no side longer than that; `whole`: as is.

    With `as_is` its pixels are those of the whole picture: the model resizes by itself.

    A picture that cannot be used is a `Picture` with the reason as `error`.
    """
    if isinstance(source, Picture):
        return source
    name = str(source) if isinstance(source, str | Path) else None
    read = partial(decode, max_megapixels=card.max_megapixels, depths=card.depths)
    smallest = None if as_is else card.images.smallest
    try:
        match source:
            case np.ndarray():
                image = np.repeat(source[..., None], 3, axis=2) if source.ndim == 2 else np.ascontiguousarray(source)
                pixels = image
            case Image.Image():
                image = pixels = read(_as_file(source, card.max_megapixels))
            case _:
                content = _grab(source, most_bytes(card.max_megapixels)) if is_address(source) else source
                file = Path(content) if isinstance(content, str) else content
                image = pixels = read(file, smallest=smallest)
                if smallest is not None and (side is not None or whole):
                    image = read(file)
    except ImageError as error:
        return Picture(name, None, error.reason, (0, 0), None, None)
    height, width = image.shape[:2]
    shown = None if side is None else image
    scale = 1 if side is None else side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shown = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    taken = pixels if as_is else resize(pixels, card.images)
    return Picture(name, taken, None, (height, width), shown, image if whole else None)


def stack_pixels(pictures: Iterable[Picture]) -> Pixels:
    """What a model takes of pictures that are no error, uint8 (N, S, S, 3)."""
    return np.stack([picture.pixels for picture in pictures if picture.pixels is not None])


def most_bytes(max_megapixels: float) -> int:
    """The largest size of a picture's file, in bytes, that is worth a look."""
    return int(max_megapixels * 1e6 * BYTES_A_PIXEL) + HEADER


def _as_file(image: Image.Image, max_megapixels: float) -> bytes:
    """A Pillow image as the bytes of a lossless file, orientation included: from there it goes the way of files."""
    if image.width * image.height > max_megapixels * 1e6:
        raise ImageError("of Pillow", "too many pixels", f"{image.width}x{image.height}")
    if is_deep_colour(image):
        raise ImageError("of Pillow", "Pillow keeps 8 of its 16 bits a channel", "give the path of its file")
    file, exif = io.BytesIO(), Image.Exif()
    try:
        image.load()  # a TIFF turns itself upright then
        # Alone: the rest of a TIFF's would say of the new file how the old one was stored.
        exif[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
        kept = image if image.mode in IN_PNG + IN_TIFF else image.convert(NEAREST.get(image.mode, "RGB"))
        if kept.mode in IN_PNG:
            kept.save(file, "PNG", exif=exif, compress_level=1)
        else:
            kept.save(file, "TIFF", exif=exif)
    except Exception as error:  # Pillow reads late: this may be the first look at the pixels of a damaged file
        raise ImageError("of Pillow", "damaged", f"{type(error).__name__}: {error}") from error
    return file.getvalue()


def _grab(address: str, most: int) -> bytes:
    """What is at an address: few redirects, few seconds, at most so many bytes."""
    from meltpoint.http import DownloadError, RetryPolicy, download_image, open_session  # a served model does without

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return False  # nothing tells it to stop

    with tempfile.TemporaryDirectory() as folder, open_session(1) as session:
        target = Path(folder) / "picture"
        try:
            download_image(session, address, target, RetryPolicy(TIMEOUT, RETRIES, most), wait)
        except DownloadError as error:
            raise ImageError("of that address", error.reason, "from the web") from error
        return target.read_bytes()
