"""Tags of images that several predictors gave, and how sure their scores are; images count, each whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Flags, Floats, Ints
from meltpoint.compare import influence
from meltpoint.compare.formatting import METRICS, Wording
from meltpoint.compare.influence import Influence, groups_of
from meltpoint.compare.measured import Measured, count_groups, gather, say_few, say_rare
from meltpoint.evaluate.predictions import probabilities_of
from meltpoint.tables import Classes, answer_column, label_column, probability_columns, read_predictions, read_tags

PICTURE = "mistakes.png"
WORDING = Wording(
    support="images",
    ranking="average_precision",
    unfolded=12,
    listed=True,
    pictures="Worst mistakes",
    about="Test images whose tags were taken for least likely, missed ones and wrong ones. Some labels may be wrong.",
    alternative="Contact sheet of the worst mistakes of {strategy} on {head}, with tags that it missed or made up",
)
WITHOUT_CLASSES = "micro_f1"  # decides however rare tags are


@dataclass(frozen=True)
class Answers:
    """One head on one split: `truth` (N, K) of the labelled images, 1, 0, or -1 where it is not known.

    `said` has the answers (R, N, K) of each predictor's trainings, `shares` (R, N, K) the probabilities where the
    metric asks for them, else None. `group` (N,) is the group id of each image.
    """

    truth: NDArray[np.int8]
    group: Ints
    said: Sequence[Flags]
    classes: list[str]
    shares: Sequence[Floats] | None = None

    def measure(self, metric: str) -> Measured:
        """The predictors' metric, and how sure it is."""
        groups, shown = count_groups(self.group), self.shown
        trainings = [list(self._trainings(metric, which)) for which in range(len(self.said))]
        whole = metric == WITHOUT_CLASSES
        needed = np.zeros_like(shown) if whole else shown
        counted = shown[shown > 0] if len(shown[shown > 0]) and not whole else np.array([groups])
        refusal = say_few(len(self.group), groups) or say_rare(
            METRICS[metric], needed, self.classes, [] if whole else [METRICS[WITHOUT_CLASSES]]
        )
        if refusal is None and not (shown > 0).any():
            refusal = f"{METRICS[metric]} cannot decide, because no test image has a tag"
        return gather(metric, trainings, self.group, counted, refusal)

    @cached_property
    def shown(self) -> Ints:
        """How many groups have an image with each tag (K,)."""
        there = np.zeros((count_groups(self.group), self.truth.shape[1]), np.bool_)
        rows, tags = np.nonzero(self.truth == 1)
        there[self.group[rows], tags] = True
        return np.asarray(there.sum(0), dtype=np.int64)

    def _trainings(self, metric: str, which: int) -> Iterator[Influence]:
        """Each training of a predictor, measured by itself."""
        n, kept = count_groups(self.group), self.shown > 0
        for run, said in enumerate(self.said[which]):
            match metric:
                case "micro_f1":
                    yield influence.tag_f1(self.truth, said, self.group, n, np.ones(1, np.bool_))
                case "macro_f1":
                    yield influence.tag_f1(self.truth, said, self.group, n, kept)
                case "map":
                    assert self.shares is not None, "`read` keeps them for this metric"
                    asked = np.flatnonzero(kept).tolist()
                    yield influence.average_precision(self.truth, self.shares[which][run], self.group, n, asked)
                case _:
                    raise ValueError(f"{metric} is no metric of tags")


def read(path: Path, classes: Classes, metric: str) -> pd.DataFrame:
    """Of the predictions of a strategy the columns id, split, group, and of each head what the metric asks for."""
    table = read_predictions(path, classes)
    return table[["id", "split", "group", *map(label_column, classes), *columns_of(classes, metric)]]


def columns_of(classes: Classes, metric: str) -> list[str]:
    """The columns of answers that a metric is about."""
    columns = [*map(answer_column, classes)]
    if metric == "map":
        columns += [name for head, names in classes.items() for name in probability_columns(head, names)]
    return columns


def asked(table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """What has to be the same for all predictors: the labels."""
    return table[[label_column(head) for head in classes]]


def pair(trainings: Sequence[Sequence[pd.DataFrame]], head: str, names: list[str]) -> Answers:
    """The answers of each predictor's trainings, in tables whose rows are the same images; labels are the first's."""
    first = trainings[0][0]
    truth = read_tags(first[label_column(head)], names)
    kept = np.flatnonzero((truth >= 0).any(1))
    ranked = all(column in first for column in probability_columns(head, names))
    return Answers(
        truth=truth[kept],
        group=groups_of(first["group"].iloc[kept]),
        said=[
            np.stack([read_tags(table[answer_column(head)], names)[kept] == 1 for table in own]) for own in trainings
        ],
        classes=names,
        shares=[np.stack([probabilities_of(table, head, names)[kept] for table in own]) for own in trainings]
        if ranked
        else None,
    )
