"""Pictures of DICOM files, read with the extra `dicom`: their stored values in the unit they are meant in."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meltpoint.images.formats import RefusedError

if TYPE_CHECKING:
    from pydicom import Dataset

INVERTED, GREY = "MONOCHROME1", ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def read_dicom(file: BinaryIO, check: Callable[[tuple[int, int]], None]) -> Image.Image:
    """A picture of one frame: RGB of 8 bits, or grey as L, I;16, I or F, so that a dataset's scale holds for it.

    `check` gets (width, height) before pixels are unpacked. Grey values are rescaled (DICOM PS3.3, C.11.1: a table, or
    slope and intercept), and turned round where the least is white (MONOCHROME1, C.7.6.3.1.2). No window is applied:
    windows differ from picture to picture, and equal values have to stay equal.

    Raises:
        RefusedError: no pixels, several frames, or colours that are not read.
    """
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array

    data = dcmread(file)
    if "PixelData" not in data:
        raise RefusedError("no picture in it", "a DICOM file without pixels")
    frames, kind = int(data.get("NumberOfFrames") or 1), str(data.PhotometricInterpretation)
    if frames != 1:
        raise RefusedError("several pictures in one file", f"{frames} frames; save each as a file of its own")
    check((int(data.Columns), int(data.Rows)))
    if kind not in GREY + COLOURS:
        raise RefusedError("unsupported colours", f"the photometric interpretation {kind}; save it as RGB or grey")
    try:
        values = pixel_array(data, raw=False)
    except (RuntimeError, NotImplementedError) as error:  # a compression for which no decoder is installed
        detail = str(error).splitlines()[0]
        raise RefusedError("unsupported compression", f"{detail}; save it uncompressed, as with dcmdjpeg") from error
    if kind in GREY:
        return _grey(values, data)
    if values.dtype != np.uint8:
        raise RefusedError("unsupported depth", f"colours of {values.dtype}; save 8 bits a channel")
    return Image.fromarray(values)


def read_size(path: Path) -> tuple[int, int]:
    """The (width, height) in the header of a DICOM file; raises what pydicom does for a damaged one."""
    from pydicom import dcmread

    data = dcmread(path, stop_before_pixels=True)
    return int(data.Columns), int(data.Rows)


def _grey(stored: NDArray[Any], data: "Dataset") -> Image.Image:
    """Stored values of the modality (H, W) as a picture whose mode says whether they are whole."""
    from pydicom.pixels.processing import apply_modality_lut

    values = stored
    if data.PhotometricInterpretation == INVERTED:
        top = -1 if data.PixelRepresentation else 2 ** int(data.BitsStored) - 1  # the least and the largest together
        values = (top - stored.astype(np.int32)).astype(stored.dtype)
    values = np.asarray(apply_modality_lut(values, data))
    factors = [float(data.get(name) or 0) for name in ("RescaleSlope", "RescaleIntercept")]
    if values.dtype.kind == "f" and not all(factor.is_integer() for factor in factors):
        return Image.fromarray(values.astype(np.float32))
    if values.dtype == np.uint8:
        return Image.fromarray(values)
    held = values.min() >= 0 and values.max() <= 65535
    return Image.fromarray(values.astype(np.uint16 if held else np.int32))
