"""One decoder for training, serving and masks: a picture becomes 8-bit RGB as a person sees it, or an ImageError."""

import io
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from meltpoint.errors import UserError

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # width, height

# Formats that are pictures and nothing more: EPS, PDF and WMF are programs, others have no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")
PROGRAMS = (b"%!PS", b"%PDF", b"\xc5\xd0\xd3\xc6", b"\xd7\xcd\xc6\x9a", b"\x01\x00\x00\x00")  # PS, PDF, EPS, WMF, EMF
PNG = b"\x89PNG\r\n\x1a\n"
CHUNK = 1_000_000  # bytes
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(UserError, ValueError):
    """A picture that cannot be used; `reason` says why in a few words: "truncated", "not an image", "empty file" ..."""

    def __init__(self, name: str, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(
            f"The picture {name} cannot be used: {reason} ({detail}). Allowed are complete pictures of the formats "
            f"{', '.join(FORMATS)} within data.max_megapixels. Replace it or take it out of the dataset."
        )


def decode(source: Path | bytes, max_megapixels: float) -> Pixels:
    """A picture as uint8 (H, W, 3) RGB, decoded to its last byte.

    EXIF orientation is applied, 16-bit and float values are scaled to 8 bits, alpha is composited on white, palettes
    and CMYK are converted; of an animation the first frame is taken.

    Raises:
        ImageError: empty, no picture, a format that is not allowed, damaged, truncated, a depth that cannot be scaled,
            or more than `max_megapixels` (in units of 10**6 pixels, known from the header, before anything is decoded).
    """
    with _opened(source, partial(_check_size, max_megapixels=max_megapixels)) as image:
        return np.asarray(_to_rgb(image))


def inspect(path: Path, max_megapixels: float) -> tuple[int, int]:
    """Decode a picture fully and give its (width, height); raises ImageError as `decode` does."""
    height, width = decode(path, max_megapixels).shape[:2]
    return width, height


def read_values(path: Path, size: Size) -> Pixels:
    """The values of a grey picture, or of another its palette's indices, as they are: uint8 (H, W).

    Raises:
        ImageError: as `decode` does, or its size is not `size`, it has no such values, or they are not 0 to 255.
    """
    with _opened(path, partial(_check_shape, allowed=(size, size[::-1]))) as image:
        _check_shape(image, (size,))
        values = np.asarray(image)
        if image.mode not in ("1", "L", "P", "I", *SIXTEEN_BITS):
            raise _RefusedError("no ids in it", f"it has the mode {image.mode}, and not one value for each pixel")
        if values.min() < 0 or values.max() > 255:
            raise _RefusedError("ids over 255", f"its values are {values.min()} to {values.max()}")
        return values.astype(np.uint8)


def read_colours(path: Path, size: Size) -> Pixels:
    """A picture as `decode` gives it; raises ImageError also if its size (width, height) is not `size`."""
    with _opened(path, partial(_check_shape, allowed=(size, size[::-1]))) as image:
        _check_shape(image, (size,))
        return np.asarray(_to_rgb(image))


def read_grey(path: Path) -> Pixels:
    """The luma of a picture as uint8 (H, W); for pictures that `inspect` has accepted before."""
    with _opened(path, partial(_check_size, max_megapixels=float("inf"))) as image:
        plain = image.mode == "L" and not image.has_transparency_data
        return np.asarray(image if plain else _to_rgb(image).convert("L"))


class _RefusedError(Exception):
    """A reason and a detail, on their way to the border where the picture's name is known."""


@contextmanager
def _opened(source: Path | bytes, check: Callable[[Image.Image], None]) -> Iterator[Image.Image]:
    """A fully loaded and upright picture, after a `check` of its header.

    Whatever Pillow raises becomes an ImageError here and nowhere else.
    """
    name = repr(source.name) if isinstance(source, Path) else f"of {len(source):,} bytes"
    try:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            _check_signature(file)
            _check_sums(file)
            Image.init()  # Pillow knows no format it is asked for by name before
            with Image.open(file, formats=_readable()) as image:
                check(image)
                yield _load(image)
    except Exception as error:  # Pillow raises nearly every built-in kind for damaged files
        raise ImageError(name, *_explain(error)) from error


def _explain(error: Exception) -> tuple[str, str]:
    """The reason and the detail of whatever went wrong with a picture."""
    match error:
        case _RefusedError():
            reason, detail = error.args
            return reason, detail
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return "too many pixels", str(error)
        case UnidentifiedImageError():
            return "not an image", "its first bytes are of no known format"
        case FileNotFoundError() | PermissionError() | IsADirectoryError():
            return "unreadable file", str(error.strerror)
        case _:
            truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
            return "truncated" if truncated else "damaged", f"{type(error).__name__}: {error}"


def _readable() -> list[str]:
    """The allowed formats that this build of Pillow knows."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_signature(file: BinaryIO) -> None:
    start = file.read(4)
    file.seek(0)
    if not start:
        raise _RefusedError("empty file", "zero bytes")
    if start in PROGRAMS:
        raise _RefusedError("format not allowed", "PostScript, PDF and metafiles are programs to be run")


def _check_sums(file: BinaryIO) -> None:
    """Hold each part of a PNG to its CRC (ISO/IEC 15948, 5.3): Pillow leaves those of the pixels unread."""
    if file.read(8) == PNG:
        name = b""
        while name != b"IEND" and (start := file.read(8)):
            length, name = int.from_bytes(start[:4]), start[4:]
            found, left = zlib.crc32(name), length
            while left and (part := file.read(min(left, CHUNK))):
                found, left = zlib.crc32(part, found), left - len(part)
            told = file.read(4)
            if len(told) < 4:
                raise _RefusedError("truncated", f"it ends in its part {name!r}")
            if found != int.from_bytes(told):
                raise _RefusedError("damaged", f"its part {name!r} has another checksum than it says")
        if name != b"IEND":
            raise _RefusedError("truncated", "its end is missing")
    file.seek(0)


def _check_size(image: Image.Image, max_megapixels: float) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        detail = f"{image.width}x{image.height} is {megapixels:,.1f} megapixels, at most {max_megapixels:g} are allowed"
        raise _RefusedError("too many pixels", detail)


def _check_shape(image: Image.Image, allowed: Collection[Size]) -> None:
    if image.size not in allowed:
        width, height = next(iter(allowed))
        detail = "the pixels of a mask are those of its image"
        raise _RefusedError(f"it has {image.width}x{image.height} pixels and its image {width}x{height}", detail)


def _load(image: Image.Image) -> Image.Image:
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # some libraries switch it on for the whole process, and grey halves pass
    image.load()
    turn = TRANSPOSED.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BITS:
        return _sixteen_to_rgb(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray(_to_eight_bits(values, _full_scale(values, image.mode))).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _sixteen_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of 16 bits; a value that its header calls transparent is white. Pillow would clip what it composites."""
    values = np.asarray(image)
    clear = values == image.info.get("transparency", -1)
    return Image.fromarray(np.where(clear, np.uint8(255), _to_eight_bits(values.astype(np.float64), 65535.0))).convert(
        "RGB"
    )


def _full_scale(values: NDArray[np.float64], mode: str) -> float | None:
    """The value that stands for white: 1, 255 or 65535, the first that holds all of them; None where none does."""
    if not np.isfinite(values).all():
        raise _RefusedError("unsupported depth", "some of its values are not finite numbers")
    scales = (65535.0,) if mode == "I" else (1.0, 255.0, 65535.0)
    return next((scale for scale in scales if values.min() >= 0 and values.max() <= scale), None)


def _to_eight_bits(values: NDArray[np.float64], white: float | None) -> Pixels:
    """Scale to 0..255; without a known white the smallest value becomes black and the largest white."""
    black = 0.0
    if white is None:
        black, white = float(values.min()), float(values.max())
    span = max(white - black, np.finfo(np.float64).tiny)
    return np.round((values - black) * (255.0 / span)).astype(np.uint8)
