"""What is to be learnt: the images of train and val, the targets of every head, and the metric that chooses."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from meltpoint.images.views import Views
from meltpoint.params.judging import Metric
from meltpoint.params.model import Head
from meltpoint.params.read import Params
from meltpoint.task.objective import Objective
from meltpoint.train.batches import Store


@dataclass(frozen=True)
class Part:
    """The images of one split, sorted by id."""

    rows: NDArray[np.int64]  # (n,) positions in the plain views
    ids: NDArray[np.int64]  # (n,)
    paths: tuple[str, ...]
    targets: Mapping[str, Tensor]  # int64 (n,) a head, -1 without a label


@dataclass(frozen=True)
class Goal:
    """Targets, objectives and loss weights by head; `metric` of the head `main` on val chooses."""

    heads: Mapping[str, Head]
    objectives: Mapping[str, Objective]
    classes: Mapping[str, list[str]]
    train: Part
    val: Part
    main: str
    metric: Metric

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each head's loss."""
        return {name: head.weight for name, head in self.heads.items()}

    @property
    def curve(self) -> str:
        """The name under which the metric that chooses stands among the curves."""
        return f"val/{self.main}/{self.metric}"

    @property
    def n_outputs(self) -> dict[str, int]:
        """How many numbers each head gives."""
        return {name: objective.n_outputs for name, objective in self.objectives.items()}

    def store(self, plain: NDArray[Any], augmented: NDArray[Any] | None, count: int) -> Store:
        """Arrays with a row for each image of the views, mapped from files, as something that batches are read from."""
        return Store(_file_of(plain), None if augmented is None else _file_of(augmented), count, self.train.rows)


def _file_of(array: NDArray[Any]) -> Path:
    assert isinstance(array, np.memmap), "views and features are read from the files they are mapped from"
    return Path(str(array.filename))


def build_goal(views: Views, params: Params) -> Goal:
    """The goal that params set on the images of `views`."""
    train, val = (views.samples.iloc[views.rows(split)] for split in ("train", "val"))
    task = import_module(f"meltpoint.task.{params.task.kind}")
    classes = {name: views.classes[head.label] for name, head in params.heads.items()}
    objectives: dict[str, Objective] = {
        name: task.build_objective(head, classes[name], train[head.label]) for name, head in params.heads.items()
    }
    parts = [
        _part(views.rows(split), rows, params.heads, objectives) for split, rows in (("train", train), ("val", val))
    ]
    return Goal(params.heads, objectives, classes, parts[0], parts[1], params.main_head, params.compare.metric)


def _part(
    rows: NDArray[np.int64], samples: pd.DataFrame, heads: Mapping[str, Head], objectives: Mapping[str, Objective]
) -> Part:
    targets = {name: objective.encode(samples[heads[name].label]) for name, objective in objectives.items()}
    return Part(rows, samples["id"].to_numpy(np.int64), tuple(samples["path"]), targets)
