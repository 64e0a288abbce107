"""One decoder for training, serving and masks: a picture becomes 8-bit RGB as a person sees it, or an ImageError."""

import io
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from meltpoint.arrays import Pixels
from meltpoint.bit_depth import Depths, Inspected
from meltpoint.errors import UserError
from meltpoint.images.deep_colour import (
    SIXTEEN_BITS,
    DeepPixels,
    deep_grey,
    is_deep_colour,
    read_deep_colour,
    to_eight_bits,
)
from meltpoint.images.dicom import read_dicom
from meltpoint.images.formats import (
    FORMATS,
    JPEG,
    LETTERS,
    START,
    RefusedError,
    check_letters,
    check_raw,
    check_scans,
    check_start,
    is_dicom,
)
from meltpoint.images.opening import check_exif, open_picture

Size = tuple[int, int]  # width, height

PLAIN_COLOURS = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "RGBX")  # modes whose colours are stored in 8 bits
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
    """A picture that cannot be used; `reason` is a few words: "truncated", "not an image", "empty file" ..."""

    def __init__(self, name: str, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(
            f"The picture {name} cannot be used: {reason} ({detail}). Allowed are complete pictures of the formats "
            f"{', '.join(FORMATS)} within data.max_megapixels. Replace it or take it out of the dataset."
        )


def decode(
    source: Path | bytes,
    max_megapixels: float,
    depths: Depths | None = None,
    name: str | None = None,
    smallest: int | None = None,
) -> Pixels:
    """A picture as uint8 (H, W, 3) RGB, decoded to its last byte.

    EXIF orientation is applied, values of more than 8 bits are scaled (by `depths`, else as `to_eight_bits` says),
    alpha is composited on white, palettes and CMYK are converted; of an animation the first frame is taken. `name` is
    what messages call a picture that is given as bytes. `smallest`: a JPEG is decoded at the smallest scale of 1/2,
    1/4, 1/8 at which no side is shorter than that, which its format makes quick (ITU-T T.81: fewer terms of each
    block's cosine transform); H and W are then those of that scale. None: whole, as everything else.

    Raises:
        ImageError: empty, no picture, a format that is not allowed, damaged, truncated, a depth that cannot be scaled,
            or more than `max_megapixels` (in units of 10**6 pixels, known from the header, before anything is decoded).
    """
    with _opened(source, partial(_check_size, max_megapixels=max_megapixels), name, smallest) as loaded:
        return _rgb_of(loaded, depths or {})


def inspect(source: Path | bytes, max_megapixels: float) -> Inspected:
    """Decode a picture fully and describe it; raises ImageError as `decode` does."""
    with _opened(source, partial(_check_size, max_megapixels=max_megapixels)) as loaded:
        values = loaded.deep.range if loaded.deep else None
        height, width = _rgb_of(loaded, {}).shape[:2]
        return Inspected(width, height, loaded.turned, values)


def read_values(path: Path, size: Size) -> Pixels:
    """The values of a grey picture, or of another its palette's indices, as they are: uint8 (H, W).

    Raises:
        ImageError: as `decode` does, or its size is not `size`, it has no such values, or they are not 0 to 255.
    """
    with _opened(path, partial(_check_shape, allowed=(size, size[::-1]))) as loaded:
        _check_shape(loaded.image.size, (size,))
        values, mode = np.asarray(loaded.image), loaded.image.mode
        if mode not in ("1", "L", "P", "I", *SIXTEEN_BITS):
            raise RefusedError("no ids in it", f"it has the mode {mode}, and not one value for each pixel")
        if values.min() < 0 or values.max() > 255:
            raise RefusedError("ids over 255", f"its values are {values.min()} to {values.max()}")
        return values.astype(np.uint8)


def read_colours(path: Path, size: Size) -> Pixels:
    """The colours of a mask as the file stores them, uint8 (H, W, 3): no background shines through what is transparent.

    Raises:
        ImageError: as `decode` does, or its size (width, height) is not `size`, its colours are not of 8 bits, or
            pixels are transparent and not black, so that what they show is not what they store.
    """
    with _opened(path, partial(_check_shape, allowed=(size, size[::-1]))) as loaded:
        _check_shape(loaded.image.size, (size,))
        if loaded.deep or loaded.image.mode not in PLAIN_COLOURS:
            raise RefusedError("no colours of 8 bits in it", f"it has the mode {loaded.image.mode}; save it as RGB")
        if not loaded.image.has_transparency_data:
            return np.asarray(loaded.image.convert("RGB"))
        stored = np.asarray(loaded.image.convert("RGBA"))
        # Most programs store plain black for what is transparent; then it is known what is meant.
        hidden = (stored[..., 3] < 255) & ((stored[..., 3] > 0) | stored[..., :3].any(axis=2))
        if hidden.any():
            example = "#{:02x}{:02x}{:02x} at alpha {}".format(*stored[tuple(np.argwhere(hidden)[0])])
            raise RefusedError(
                f"{hidden.sum():,} pixels are transparent and not black, as {example}: save the mask without alpha",
                "it is not known whether their colour counts",
            )
        return stored[..., :3]


def read_grey(path: str, read: Callable[[str], bytes], depths: Depths | None = None) -> Pixels:
    """The luma as uint8 (H, W) of a picture that `inspect` has accepted before; `read` gives its bytes."""
    with _opened(read(path), partial(_check_size, max_megapixels=float("inf")), path) as loaded:
        if loaded.image.mode == "L" and not loaded.image.has_transparency_data:
            return np.asarray(loaded.image)
        return np.asarray(Image.fromarray(_rgb_of(loaded, depths or {})).convert("L"))


@dataclass(frozen=True)
class _Loaded:
    """A picture, loaded and upright; `deep`: its values, where they have more than 8 bits."""

    image: Image.Image
    turned: bool
    deep: DeepPixels | None


@contextmanager
def _opened(
    source: Path | bytes, check: Callable[[Size], None], name: str | None = None, smallest: int | None = None
) -> Iterator[_Loaded]:
    """A fully loaded and upright picture, after a `check` of the size in its header.

    Whatever Pillow raises becomes an ImageError here and nowhere else.
    """
    name = source.name if isinstance(source, Path) else name
    called = f"of {len(source):,} bytes" if isinstance(source, bytes) and name is None else repr(name)
    try:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            start = file.read(START)
            file.seek(0)
            check_start(start)
            if start.startswith(JPEG):
                check_scans(file.read())
                file.seek(0)
            if start.startswith(LETTERS):
                check_letters(file.read())
                file.seek(0)
            if is_dicom(start):
                image = read_dicom(file, check)
                yield _Loaded(image, False, deep_grey(image))
                return
            with open_picture(file, sums=True) as image:
                check(image.size)
                check_raw(image)
                # Some libraries switch it on for the whole process, and then half of a picture passes.
                ImageFile.LOAD_TRUNCATED_IMAGES = False
                is_deep, before = is_deep_colour(image), _orientation(image)
                if smallest is not None:
                    image.draft(None, (smallest, smallest))  # only JPEG can; still read to its last byte
                image.load()
                after = _orientation(image)  # a TIFF has turned itself now, and that of a PNG is known from here on
                upright = image.transpose(TRANSPOSED[after]) if after in TRANSPOSED else image
                deep = read_deep_colour(file, after) if is_deep else deep_grey(upright)
                yield _Loaded(upright, before in TRANSPOSED or after in TRANSPOSED, deep)
    except Exception as error:  # Pillow raises nearly every built-in kind for damaged files
        raise ImageError(called, *_explain(error)) from error


def _explain(error: Exception) -> tuple[str, str]:
    """The reason and the detail of whatever went wrong with a picture."""
    match error:
        case RefusedError():
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


def _check_size(size: Size, max_megapixels: float) -> None:
    width, height = size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        detail = f"{width}x{height} is {megapixels:,.1f} megapixels, at most {max_megapixels:g} are allowed"
        raise RefusedError("too many pixels", detail)


def _check_shape(size: Size, allowed: Collection[Size]) -> None:
    if size not in allowed:
        width, height = next(iter(allowed))
        detail = "the pixels of a mask are those of its image, as EXIF turns it upright"
        raise RefusedError(f"it has {size[0]}x{size[1]} pixels and its image {width}x{height}", detail)


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF 2.32, section 4.6.5.1 numbers them; 1 is upright."""
    if image.format == "PNG":
        image.load()  # its EXIF may stand behind its pixels
    check_exif(image.info)
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in TRANSPOSED else 1


def _rgb_of(loaded: _Loaded, depths: Depths) -> Pixels:
    if loaded.deep is not None:
        return to_eight_bits(loaded.deep, depths)
    image = loaded.image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
