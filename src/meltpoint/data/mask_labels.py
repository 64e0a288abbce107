"""What a dataset of masks needs besides its images: where masks go, what they show, how many pixels each class has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.errors import UserError
from meltpoint.params.data import Label, MaskLabel
from meltpoint.tables import mask_column, say_present

FOLDER = "masks"  # in the shards of data/raw
IGNORED = "(ignored)"  # what the report calls pixels of no class

Pixels = NDArray[np.int64]  # (N, C + 1) pixels of each class, the last of ignored ones


class VoidError(UserError, ValueError):
    """Masks in which `void` is most likely a class."""


@dataclass(frozen=True)
class Masked:
    """The label that is made of masks."""

    name: str
    label: MaskLabel

    @property
    def classes(self) -> list[str]:
        """Their names in the order of ids."""
        return list(self.label.classes)


def masked_label(labels: dict[str, Label]) -> Masked | None:
    """The label of masks, if there is one (params allow one at most)."""
    return next((Masked(name, label) for name, label in labels.items() if isinstance(label, MaskLabel)), None)


def mask_path(path: str) -> str:
    """What the mask of the image `path` is called in the shards of data/raw."""
    return str(PurePosixPath(FOLDER, path).with_suffix(".png"))


def add_masks(samples: pd.DataFrame, masked: Masked, pixels: Sequence[Sequence[int]]) -> pd.DataFrame:
    """The samples with the paths of their masks, and in the label the classes that have pixels there."""
    shown = [say_present(name for name, count in zip(masked.classes, row, strict=False) if count) for row in pixels]
    cells = pd.Series([cell or None for cell in shown], index=samples.index, dtype="string")
    return samples.assign(**{masked.name: cells, mask_column(masked.name): samples["path"].map(mask_path)})


def sum_pixels(masked: Masked, pixels: Sequence[Sequence[int]]) -> dict[str, int]:
    """Pixels of each class and of none, over all images, for the report."""
    total = np.array(pixels, dtype=np.int64).reshape(-1, len(masked.classes) + 1).sum(axis=0)
    return dict(zip([*masked.classes, IGNORED], map(int, total), strict=True))


def check_void(masked: Masked, pixels: dict[str, int]) -> None:
    """Refuse masks of one class and void, as those of 0 and 255 where 255 is listed as void.

    Raises:
        VoidError: no two classes have pixels, and some pixels are ignored.
    """
    shown, ignored = [name for name in masked.classes if pixels[name]], pixels[IGNORED]
    if len(shown) < 2 and ignored:
        empty = [name for name in masked.classes if not pixels[name]]
        code = "id" if masked.label.pixels == "ids" else "colour"
        raise VoidError(
            f"The masks of {masked.name!r} hold no pixel of {empty}: besides {shown or 'nothing'} there are "
            f"{ignored:,} pixels of void {masked.label.void}, which are ignored. If void is what an object is painted "
            f"with, as 255 in masks of 0 and 255, give it to the class as its `{code}`, and remove it from "
            f"data.labels.{masked.name}.void."
        )


def note_turned(turned: int) -> list[str]:
    """What to know where images with masks are turned upright by their EXIF: their number, and how it was taken."""
    if not turned:
        return []
    return [
        f"{turned:,} images with masks are turned or mirrored by their EXIF orientation, and their masks are taken as "
        "drawn on the upright picture. If your tool ignores EXIF, they do not fit: look at reports/augment/"
    ]
