"""How heads do on labelled images: their loss and metrics, for one model or a stack of replicas."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meltpoint.metrics import confusion, from_confusion
from meltpoint.task.objective import Objective

LOSS = "loss"


@dataclass(frozen=True)
class Losses:
    """The weighted sum of the heads' losses: what training minimises."""

    objectives: Mapping[str, Objective]
    weights: Mapping[str, float]
    targets: Mapping[str, Tensor]  # int64 (n_train,) a head
    label_smoothing: float

    def __call__(self, outputs: Mapping[str, Tensor], numbers: Tensor) -> Tensor:
        """Outputs (B, K) of each head for training images by number (B,) to one number."""
        parts = []
        for head, values in outputs.items():
            loss = self.objectives[head].loss(values, self.targets[head][numbers], self.label_smoothing)
            parts.append(self.weights[head] * loss)
        return torch.stack(parts).sum()


def score(objective: Objective, outputs: Tensor, targets: Tensor) -> dict[str, NDArray[np.float64]]:
    """Loss and metrics of outputs (..., N, K) on targets int64 (N,): arrays (...), by `loss` and the metrics' names.

    The answer is the most probable class: thresholds are learnt of the trained model, and a tree joins its heads, so
    that no checkpoint is chosen by them.
    """
    probabilities = objective.decode(outputs)
    n_classes = probabilities.shape[-1]
    predicted = probabilities.argmax(-1).cpu().numpy()  # (..., N)
    true = targets.cpu().numpy()
    counts = np.stack([confusion(true, row, n_classes) for row in predicted.reshape(-1, predicted.shape[-1])])
    counts = counts.reshape(*predicted.shape[:-1], n_classes, n_classes)
    loss = objective.loss(outputs, targets, 0.0).double().cpu().numpy()
    return {LOSS: loss, **from_confusion(counts)}


def pick(scores: Mapping[str, NDArray[np.float64]], metric: str) -> int:
    """Of a stack of replicas (R,) the one best by `metric`, then by loss."""
    return int(np.lexsort((scores[LOSS], -scores[metric]))[0])


def name_scores(scores: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    """Scores by head and name as curves: `val/<head>/<name>`, and `val/loss`, the weighted sum."""
    curves = {f"val/{head}/{name}": float(value) for head, own in scores.items() for name, value in own.items()}
    return {"val/loss": sum(weights[head] * float(own[LOSS]) for head, own in scores.items()), **curves}
