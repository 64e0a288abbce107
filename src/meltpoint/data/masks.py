"""What a dataset of masks needs besides its images: where masks go, what they show, how many pixels each class has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.params.data import Label, MaskLabel
from meltpoint.tables import Palettes, mask_column, say_present

FOLDER = "masks"  # below data/raw

Pixels = NDArray[np.int64]  # (N, C + 1) pixels of each class, the last of ignored ones


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


def palettes_of(labels: dict[str, Label]) -> Palettes:
    """The colours of the classes of each label of masks, in their order."""
    masked = masked_label(labels)
    return {masked.name: [one.colour for one in masked.label.classes.values()]} if masked else {}


def mask_path(path: str) -> str:
    """Where below data/raw the mask of the image `path` goes."""
    return str(PurePosixPath(FOLDER, path).with_suffix(".png"))


def with_masks(samples: pd.DataFrame, masked: Masked, pixels: Sequence[Sequence[int]]) -> pd.DataFrame:
    """The samples with the paths of their masks, and in the label the classes that have pixels there."""
    shown = [say_present(name for name, count in zip(masked.classes, row, strict=False) if count) for row in pixels]
    cells = pd.Series([cell or None for cell in shown], index=samples.index, dtype="string")
    return samples.assign(**{masked.name: cells, mask_column(masked.name): samples["path"].map(mask_path)})


def count_pixels(masked: Masked, pixels: Sequence[Sequence[int]]) -> dict[str, int]:
    """Pixels of each class and of none, over all images, for the report."""
    total = np.array(pixels, dtype=np.int64).reshape(-1, len(masked.classes) + 1).sum(axis=0)
    return dict(zip([*masked.classes, "(ignored)"], map(int, total), strict=True))
