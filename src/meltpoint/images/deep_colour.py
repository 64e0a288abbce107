"""Pictures of more than 8 bits: their values as the file holds them, and as 8-bit RGB on a dataset's scale."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.bit_depth import Depths, Kind, Range, Scale
from meltpoint.images.formats import RefusedError

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, eq=False)
class DeepPixels:
    """Values of a picture, upright: (H, W) grey, or (H, W, 3) red, green, blue.

    `opacity` is float64 (H, W), 0 to 1; None: all is opaque.
    """

    kind: Kind
    values: NDArray[Any]
    opacity: NDArray[np.float64] | None

    @property
    def range(self) -> Range:
        """Its least and largest value.

        Raises:
            RefusedError: there is NaN or infinity in it.
        """
        _check_finite(self.values)
        return Range(self.kind, float(self.values.min()), float(self.values.max()))


def is_deep_colour(image: Image.Image) -> bool:
    """Whether a picture that is not loaded yet has colours of 16 bits, of which Pillow would keep the upper 8."""
    rawmodes = [one.args[0] if isinstance(one.args, tuple) else one.args for one in getattr(image, "tile", [])]
    colours = image.mode in ("RGB", "RGBA", "LA") and image.format in ("PNG", "TIFF")
    return colours and any(";16" in str(rawmode) for rawmode in rawmodes)


def read_deep_colour(file: BinaryIO, orientation: int) -> DeepPixels:
    """The values of a PNG or TIFF with 16 bits a channel; `orientation` (EXIF, 1 to 8) is still to be applied.

    Raises:
        RefusedError: OpenCV cannot read it.
    """
    file.seek(0)
    read = cv2.imdecode(np.frombuffer(file.read(), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint16 or read.ndim != 3 or read.shape[2] not in (3, 4):
        raise RefusedError(
            "unsupported depth", "16 bits a channel, in an order that is not read; save 8 bits a channel"
        )
    # Upright, as EXIF 2.32, section 4.6.5.1 has it: transposed, and flipped along rows and columns.
    across = read.transpose(1, 0, 2) if orientation >= 5 else read
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    upright = across[:: -1 if rows else 1, :: -1 if columns else 1]
    opacity = upright[..., 3].astype(np.float64) / 65535 if read.shape[2] == 4 else None
    return DeepPixels("integer", upright[..., 2::-1], opacity)  # OpenCV has blue first


def deep_grey(image: Image.Image) -> DeepPixels | None:
    """The values of a loaded and upright picture of one channel; None: it has 8 bits."""
    if image.mode in SIXTEEN_BITS:
        values = np.asarray(image)
        clear = image.info.get("transparency")  # a value that the header calls transparent
        return DeepPixels("integer", values, None if clear is None else (values != clear).astype(np.float64))
    if image.mode in ("I", "F"):
        return DeepPixels("integer" if image.mode == "I" else "float", np.asarray(image), None)
    return None


def to_eight_bits(deep: DeepPixels, depths: Depths) -> Pixels:
    """A picture as uint8 (H, W, 3), on white where it is not opaque; values outside of its scale are clipped.

    Without a scale for its kind it is 0 to 65535 for whole numbers, 0 to the first of 1, 255 and 65535 for fractions,
    and from the least to the largest value where that does not hold them.

    Raises:
        RefusedError: there is NaN or infinity in it.
    """
    scale = depths.get(deep.kind)
    if scale is None:
        _, low, high = deep.range
        whites = (65535.0,) if deep.kind == "integer" else (1.0, 255.0, 65535.0)
        scale = next(((0.0, white) for white in whites if low >= 0 and high <= white), (low, high))
    shown = _scaled(deep.values, scale)
    if deep.opacity is not None:
        opacity = deep.opacity[..., None] if shown.ndim == 3 else deep.opacity
        shown = np.round(shown * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)


def _scaled(values: NDArray[Any], scale: Scale) -> Pixels:
    """Values to 0..255; of 16 bits by a table, since a float for each value takes four times the memory."""
    if values.dtype == np.uint16:
        table = _scaled(np.arange(65536, dtype=np.float64), scale)
        return table.take(values)
    _check_finite(values)
    black, white = scale
    span = max(white - black, np.finfo(np.float64).tiny)
    return np.round((values.astype(np.float64) - black) * (255.0 / span)).clip(0, 255).astype(np.uint8)


def _check_finite(values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise RefusedError("unsupported depth", "some of its values are not finite numbers")
