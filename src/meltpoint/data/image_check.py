"""Reads one image of a source and decodes it, and its mask; or gives the reason why it cannot be used."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meltpoint.bit_depth import Inspected
from meltpoint.data.mask_labels import Masked, mask_path
from meltpoint.data.origins import parse_origin
from meltpoint.errors import UserError
from meltpoint.params.data import MaskLabel

LARGE = 256_000_000  # bytes

Inspect = Callable[[Path | bytes, float], Inspected]
Normalise = Callable[[Path, MaskLabel, tuple[int, int]], tuple[bytes, NDArray[np.int64]]]
Job = tuple[str, str, str]  # path, origin, origin of the mask


class DatasetError(UserError, ValueError):
    """A dataset cannot be used as it is."""


@dataclass(frozen=True)
class CheckedImage:
    """An image that was read and decoded: what it is, the sha256 and number of its bytes, pixels of each class."""

    seen: Inspected
    sha256: str
    bytes: int
    pixels: tuple[int, ...]  # empty without a mask


Checked = tuple[CheckedImage, dict[str, bytes]]  # with the content of its files by path


def check_image(
    max_megapixels: float, inspect: Inspect, normalise: Normalise, masked: Masked | None, job: Job
) -> Checked | str:
    """Read and decode one image, and its mask, with their files by path; a text is the reason why it cannot be used."""
    path, origin, mask = job[0], parse_origin(job[1]), Path(job[2])
    try:
        if not origin.path.exists():
            return "no such file"
        if not origin.path.is_file():
            return "not a file"
        if origin.size > LARGE and not origin.is_piece:
            inspect(origin.path, max_megapixels)  # so that a film is refused before it is read into memory
        content = origin.read()
        seen = inspect(content, max_megapixels)
    except PermissionError:
        return "no permission to read it"
    except UserError as error:
        return str(getattr(error, "reason", error))
    files, counts = {path: content}, np.empty(0, np.int64)
    if masked:
        try:
            files[mask_path(path)], counts = normalise(mask, masked.label, (seen.width, seen.height))
        except UserError as error:
            return f"mask {mask.name}: {getattr(error, 'reason', error)}"
    return CheckedImage(seen, hashlib.sha256(content).hexdigest(), len(content), tuple(map(int, counts))), files
