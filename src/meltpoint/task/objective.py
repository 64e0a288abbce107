"""What the training of a head needs to know of its task, and nothing more."""

from typing import Protocol

import pandas as pd
from torch import Tensor


class Objective(Protocol):
    """Turns labels into targets, outputs into a loss and into probabilities. It never learns of devices or loops."""

    @property
    def n_outputs(self) -> int:
        """K, the number of outputs the head has to give."""
        ...

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Class names (N,) to class ids int64 (N,); -1 where the label is missing."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Outputs (..., N, K) and targets int64 (N,) to the mean loss (...,) over labelled rows, 0 if none is."""
        ...

    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (..., N, K) to probabilities float32 (..., N, C) in class order; rows sum to 1."""
        ...
