"""Classes of images that several predictors answered, and how sure their scores are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.arrays import Flags, Floats, Ints
from meltpoint.compare import influence
from meltpoint.compare.formatting import METRICS, Wording
from meltpoint.compare.influence import Influence, groups_of
from meltpoint.compare.measured import Measured, count_groups, gather, say_few, say_rare
from meltpoint.evaluate.predictions import answers_of, codes_of, probabilities_of
from meltpoint.metrics import least_probability
from meltpoint.tables import Classes, answer_column, label_column, probability_columns, read_predictions

PICTURE = "mistakes.png"
WORDING = Wording(
    support="images",
    ranking="f1",
    unfolded=6,
    listed=False,
    pictures="Worst mistakes",
    about="Test images whose true class got the lowest probability. Some labels may be wrong: check them.",
    alternative=(
        "Contact sheet of the worst mistakes of {strategy} on {head}, each with its true and its predicted class"
    ),
)
BY_CLASS = ("balanced_accuracy", "macro_f1", "f1", "roc_auc")  # means over classes
BY_PROBABILITY = ("roc_auc", "log_loss")
WITHOUT_CLASSES = ("accuracy", "log_loss")  # decide however rare classes are


@dataclass(frozen=True)
class Answers:
    """One head on one split: the true class ids (N,) of the labelled images and the group id (N,) of each.

    `predicted` has the answers (R, N) of each predictor's trainings; `probabilities` (R, N, C) of each where the metric
    asks for them, else None.
    """

    true: Ints
    group: Ints
    predicted: Sequence[Ints]
    classes: list[str]
    probabilities: Sequence[Floats] | None = None

    def measure(self, metric: str) -> Measured:
        """The predictors' metric, and how sure it is."""
        trainings = [list(self._trainings(metric, which)) for which in range(len(self.predicted))]
        single = metric == "accuracy" and all(len(own) == 1 for own in trainings)
        counted = self._needed(metric)[self._counted(metric)] if metric in BY_CLASS else np.empty(0, np.int64)
        right = np.stack([own[0] for own in self.predicted]) == self.true if single else None
        counted = counted if len(counted) else np.array([count_groups(self.group)])
        return gather(metric, trainings, self.group, counted, self._refuse(metric), right, self._reach(metric))

    @cached_property
    def shown(self) -> Ints:
        """How many groups have an image of each class (C,)."""
        return np.bincount(self._cells[1], minlength=len(self.classes)).astype(np.int64)

    @cached_property
    def others(self) -> Ints:
        """How many groups have an image of another class than each (C,)."""
        (group, kind), groups = self._cells, count_groups(self.group)
        alone = (np.bincount(group, minlength=groups) == 1)[group]
        return groups - np.bincount(kind[alone], minlength=len(self.classes)).astype(np.int64)

    @cached_property
    def _cells(self) -> tuple[Ints, Ints]:
        """Each group and class that occur together, once: the groups and the classes."""
        return np.divmod(pd.unique(self.group * len(self.classes) + self.true), len(self.classes))

    def _needed(self, metric: str) -> Ints:
        """The groups (C,) that measure each class: for an area those of the rarer side."""
        return np.minimum(self.shown, self.others) if metric == "roc_auc" else self.shown

    def _reach(self, metric: str) -> float:
        """The most that an image may cost its class."""
        match metric:
            case "log_loss":
                return -float(np.log(least_probability(len(self.classes))))
            case "quadratic_kappa":
                true = self.true.astype(np.float64)
                by_chance = [  # the mean squared distance that answers have by chance, by which kappa divides
                    float((true**2 + said**2).mean() - 2 * true.mean() * said.mean())
                    for said in (said.astype(np.float64) for own in self.predicted for said in own)
                ]
                return max(1.0, 1 / max(min(by_chance), 1e-9))
            case _:
                return 1.0

    def _trainings(self, metric: str, which: int) -> Iterator[Influence]:
        """Each training of a predictor, measured by itself."""
        n, kept = count_groups(self.group), self._counted(metric)
        for run, said in enumerate(self.predicted[which]):
            match metric:
                case "accuracy":
                    yield influence.accuracy(self.true, said, self.group, n)
                case "balanced_accuracy":
                    yield influence.balanced_accuracy(self.true, said, self.group, n, kept)
                case "macro_f1" | "f1":
                    yield influence.macro_f1(self.true, said, self.group, n, kept)
                case "quadratic_kappa":
                    yield influence.quadratic_kappa(self.true, said, self.group, n)
                case "log_loss":
                    own = self._probabilities(which, run)
                    given = own[np.arange(len(own)), self.true] / own.sum(1)  # to the true class (N,)
                    yield influence.log_loss(given, least_probability(len(self.classes)), self.group, n)
                case "roc_auc":
                    asked = np.flatnonzero(kept).tolist()
                    yield influence.roc_auc(self.true, self._probabilities(which, run), self.group, n, asked)
                case _:
                    raise ValueError(f"{metric} is no metric of classes of images")

    def _counted(self, metric: str) -> Flags:
        """The classes (C,) that the mean is over: those that occur; of two only the last where it is looked for."""
        counted = self._needed(metric) > 0
        if metric in ("f1", "roc_auc") and len(self.classes) == 2:
            counted[0] = False
        return counted

    def _refuse(self, metric: str) -> str | None:
        others = [METRICS[name] for name in WITHOUT_CLASSES if name != metric]
        needed = self._needed(metric) if metric in BY_CLASS else np.zeros_like(self.shown)
        single = metric == "quadratic_kappa" and int((self.shown > 0).sum()) < 2
        if single or (metric in BY_CLASS and not self._counted(metric).any()):
            lacking = "has images of one class alone" if metric != "f1" else f"shows no {self.classes[-1]}"
            return f"{METRICS[metric]} cannot decide, because test {lacking}; {' and '.join(others)} can"
        return say_few(len(self.group), count_groups(self.group)) or say_rare(
            METRICS[metric], needed, self.classes, others
        )

    def _probabilities(self, which: int, run: int) -> Floats:
        assert self.probabilities is not None, "`read` keeps them for the metrics that ask for them"
        return np.asarray(self.probabilities[which][run], dtype=np.float64)


def read(path: Path, classes: Classes, metric: str) -> pd.DataFrame:
    """Of the predictions of a strategy the columns id, split, group, and of each head what the metric asks for."""
    table = read_predictions(path, classes)
    return table[["id", "split", "group", *map(label_column, classes), *columns_of(classes, metric)]]


def columns_of(classes: Classes, metric: str) -> list[str]:
    """The columns of answers that a metric is about."""
    columns = [*map(answer_column, classes)]
    if metric in BY_PROBABILITY:
        columns += [name for head, names in classes.items() for name in probability_columns(head, names)]
    return columns


def asked(table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """What has to be the same for all predictors: the labels."""
    return table[[label_column(head) for head in classes]]


def pair(trainings: Sequence[Sequence[pd.DataFrame]], head: str, names: list[str]) -> Answers:
    """The answers of each predictor's trainings, in tables whose rows are the same images; labels are the first's."""
    first = trainings[0][0]
    true = codes_of(first, head, names)
    kept = true >= 0
    ranked = all(column in first for column in probability_columns(head, names))
    return Answers(
        true=true[kept],
        group=groups_of(first["group"][kept]),
        predicted=[np.stack([answers_of(table, head, names)[kept] for table in own]) for own in trainings],
        classes=names,
        probabilities=[np.stack([probabilities_of(table, head, names)[kept] for table in own]) for own in trainings]
        if ranked
        else None,
    )
