"""Classes of images that several predictors answered, and how sure their scores are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.evaluate.answers import answers_of, codes_of
from meltpoint.evaluate.bootstrap import Bootstrap, resample
from meltpoint.evaluate.words import Wording
from meltpoint.tables import Classes, answer_column, label_column, read_predictions

Ints = NDArray[np.int64]

PICTURE = "mistakes.png"
WORDING = Wording(
    support="images",
    ranking="f1",
    unfolded=6,
    pictures="Worst mistakes",
    about="Test images whose true class got the least probability. Some may be labelled wrongly: look.",
    alternative=(
        "Contact sheet of the worst mistakes of {strategy} on {head}, each with its true and its predicted class"
    ),
)


@dataclass(frozen=True)
class Answers:
    """One head on one split: the true class ids (N,) of the labelled images and what each predictor said (K, N)."""

    true: Ints
    predicted: Ints
    n_classes: int

    @property
    def images(self) -> int:
        """How many images have a label."""
        return len(self.true)

    def resample(self, metric: str, resamples: int, seed: int) -> Bootstrap:
        """The predictors' metric, and how sure it is (see `bootstrap.resample`)."""
        return resample(self.true, self.predicted, self.n_classes, metric, resamples, seed)


def read(path: Path, classes: Classes) -> pd.DataFrame:
    """Of the predictions of a strategy the columns id, split, and of each head its label and its answer."""
    table = read_predictions(path, classes)
    return table[["id", "split", *map(label_column, classes), *map(answer_column, classes)]]


def asked(table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """What has to be the same for all predictors: the labels."""
    return table[[label_column(head) for head in classes]]


def pair(tables: Sequence[pd.DataFrame], head: str, names: list[str]) -> Answers:
    """The answers of several predictors, in tables whose rows are the same images; labels are those of the first."""
    true = codes_of(tables[0], head, names)
    kept = true >= 0
    return Answers(true[kept], np.stack([answers_of(table, head, names)[kept] for table in tables]), len(names))
