"""Masks that several predictors answered, and how sure their scores are: images count, never pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.arrays import Ints
from meltpoint.compare.formatting import METRICS, Wording
from meltpoint.compare.influence import groups_of, pixel_ratio
from meltpoint.compare.measured import Measured, count_groups, gather, say_few, say_rare
from meltpoint.tables import PIXELS, Classes, pixel_column, read_counts
from meltpoint.tasks.segmentation.pixel_counts import pixels_of

PICTURE = "overlays.png"
WORDING = Wording(
    support="pixels",
    ranking="iou",
    unfolded=24,
    listed=True,
    pictures="Masks",
    about="Test images by their own IoU: the best, the middle and the worst. Some masks may be wrong: check them.",
    alternative="Test images with their true mask, the one of {strategy} on {head}, and its errors",
)
WITHOUT_CLASSES = "pixel_accuracy"  # decides however rare classes are


@dataclass(frozen=True)
class Answers:
    """One head on one split: of each predictor `pixels` (R, 3, N, C), tp, fp and fn of its trainings.

    The N images are those with a labelled pixel; `group` (N,) is the group id of each.
    """

    pixels: Sequence[Ints]
    group: Ints
    classes: list[str]

    def measure(self, metric: str) -> Measured:
        """The predictors' metric, and how sure it is."""
        (tp, _, fn), groups = self.pixels[0][0], count_groups(self.group)
        there = np.zeros((groups, len(self.classes)), np.int64)
        np.add.at(there, self.group, (tp + fn > 0).astype(np.int64))
        shown = np.asarray((there > 0).sum(0), dtype=np.int64)  # groups with a pixel of each class in the truth (C,)
        trainings = [
            [pixel_ratio(pixels, metric, self.group, groups, shown > 0) for pixels in own] for own in self.pixels
        ]
        whole = metric == WITHOUT_CLASSES
        needed, others = (np.zeros_like(shown), []) if whole else (shown, [METRICS[WITHOUT_CLASSES]])
        refusal = say_few(len(self.group), groups) or say_rare(METRICS[metric], needed, self.classes, others)
        counted = np.array([groups]) if whole else shown[shown > 0]
        return gather(metric, trainings, self.group, counted, refusal)


def read(path: Path, classes: Classes, metric: str) -> pd.DataFrame:  # noqa: ARG001 - all metrics ask for the same
    """Of the predictions of a strategy the columns id, split, group, and of each head tp, fp and fn of each class."""
    return read_counts(path, classes)[["id", "split", "group", *columns_of(classes)]]


def columns_of(classes: Classes) -> list[str]:
    """The columns of tp, fp and fn of each class of each head."""
    return [pixel_column(head, count, name) for head, names in classes.items() for count in PIXELS for name in names]


def asked(table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """What has to be the same for all predictors: the pixels that each class has in the truth."""
    return pd.DataFrame(
        {
            f"{head}.{name}": table[pixel_column(head, "tp", name)] + table[pixel_column(head, "fn", name)]
            for head, names in classes.items()
            for name in names
        }
    )


def pair(trainings: Sequence[Sequence[pd.DataFrame]], head: str, names: list[str]) -> Answers:
    """The answers of each predictor's trainings, in tables whose rows are the same images."""
    pixels = [np.stack([pixels_of(table, head, names) for table in own]) for own in trainings]
    kept = (pixels[0][0, 0] + pixels[0][0, 2]).sum(-1) > 0
    group = groups_of(trainings[0][0]["group"][kept])
    return Answers([own[:, :, kept] for own in pixels], group, names)
