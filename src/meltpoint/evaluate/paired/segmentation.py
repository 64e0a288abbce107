"""Masks that several predictors answered, and how sure their scores are: images are resampled, never pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.evaluate.bootstrap import Bootstrap, resample_masks
from meltpoint.evaluate.counts import pixels_of
from meltpoint.evaluate.words import Wording
from meltpoint.tables import PIXELS, Classes, pixel_column, read_counts

Ints = NDArray[np.int64]

PICTURE = "overlays.png"
WORDING = Wording(
    support="pixels",
    ranking="iou",
    unfolded=24,
    pictures="Masks",
    about="Test images by their own IoU: the best, the middle and the worst. Some may be labelled wrongly: look.",
    alternative="Test images with their true mask, the one of {strategy} on {head}, and its errors",
)


@dataclass(frozen=True)
class Answers:
    """One head on one split: `pixels` (K, 3, N, C) are tp, fp and fn of K predictors on the N labelled images."""

    pixels: Ints

    @property
    def images(self) -> int:
        """How many images have a labelled pixel."""
        return int(self.pixels.shape[2])

    def resample(self, metric: str, resamples: int, seed: int) -> Bootstrap:
        """The predictors' metric, and how sure it is (see `bootstrap.resample_masks`)."""
        return resample_masks(self.pixels, metric, resamples, seed)


def read(path: Path, classes: Classes) -> pd.DataFrame:
    """Of the predictions of a strategy the columns id, split, and of each head tp, fp and fn of each class."""
    wanted = [pixel_column(head, count, name) for head, names in classes.items() for count in PIXELS for name in names]
    return read_counts(path, classes)[["id", "split", *wanted]]


def asked(table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """What has to be the same for all predictors: the pixels that each class has in the truth."""
    return pd.DataFrame(
        {
            f"{head}.{name}": table[pixel_column(head, "tp", name)] + table[pixel_column(head, "fn", name)]
            for head, names in classes.items()
            for name in names
        }
    )


def pair(tables: Sequence[pd.DataFrame], head: str, names: list[str]) -> Answers:
    """The answers of several predictors, in tables whose rows are the same images."""
    pixels = np.stack([pixels_of(table, head, names) for table in tables])
    kept = (pixels[0, 0] + pixels[0, 2]).sum(-1) > 0
    return Answers(pixels[:, :, kept])
