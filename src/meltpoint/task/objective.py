"""What the training of a head needs to know of its task, and nothing more."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from meltpoint.errors import UserError

MISSING = -1  # stands for an image without a label
LOSS = "loss"

Scores = dict[str, NDArray[np.float64]]  # by name, each (...,)
Gather = Callable[[Tensor], Tensor]  # rows (n, ...) of this process to those of all, filled up with -1


class ObjectiveError(UserError, ValueError):
    """Labels or classes that cannot be learnt."""


class Tally(Protocol):
    """How a head does on images that come in batches, each once."""

    def add(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Take a batch in: outputs (..., N, ...) and what they should have been (N, ...), as `wanted` gives it."""
        ...

    def scores(self, gather: Gather, /) -> Scores:
        """`loss` and metrics, each (...), over all images of all processes; the same in every process."""
        ...


class Objective(Protocol):
    """Turns labels into targets, outputs into a loss and into probabilities. It never learns of devices or loops."""

    @property
    def n_outputs(self) -> int:
        """K, the number of outputs the head has to give, of an image or of a pixel."""
        ...

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Label cells (N,) to int64 (N,): the class that an image counts for, -1 where the label is missing."""
        ...

    def wanted(self, labels: Tensor, masks: Tensor | None, /) -> Tensor:
        """What outputs are compared with, of encoded labels (N,) or of masks uint8 (N, S, S), where there are some."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Outputs (..., N, ...) and targets (N, ...) to the mean loss (...,), 0 where nothing is labelled."""
        ...

    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (..., N, ...) to probabilities float32 in class order, which sum to 1."""
        ...

    def tally(self) -> Tally:
        """An empty tally of what this head gives."""
        ...
