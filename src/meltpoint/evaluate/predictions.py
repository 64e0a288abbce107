"""Predictions as arrays: what was asked of a head and what it answered."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.tables import answer_column, label_column, probability_columns


def codes_of(table: pd.DataFrame, head: str, classes: list[str]) -> NDArray[np.int64]:
    """The true class ids (N,) of a head, -1 where an image has no label."""
    return np.asarray(pd.Categorical(table[label_column(head)], categories=classes).codes, dtype=np.int64)


def answers_of(table: pd.DataFrame, head: str, classes: list[str]) -> NDArray[np.int64]:
    """The class ids (N,) that a head answers: by its threshold, or by the tree it stands in."""
    codes = np.asarray(pd.Categorical(table[answer_column(head)], categories=classes).codes, dtype=np.int64)
    assert (codes >= 0).all(), f"{head} answers for every image, and with one of its classes"
    return codes


def probabilities_of(table: pd.DataFrame, head: str, classes: list[str]) -> NDArray[np.float64]:
    """The class probabilities (N, C) of a head."""
    return table[probability_columns(head, classes)].to_numpy(np.float64)
