"""The loss that training minimises, and how scores on val become curves and a choice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from meltpoint.metrics import sign_of
from meltpoint.tasks.contract import LOSS, Objective, Scores


@dataclass(frozen=True)
class Losses:
    """The weighted sum of the heads' losses: what training minimises."""

    objectives: Mapping[str, Objective]
    weights: Mapping[str, float]
    targets: Mapping[str, Tensor]  # int64 (n_train,) a head
    label_smoothing: float

    def __call__(self, outputs: Mapping[str, Tensor], numbers: Tensor, masks: Tensor | None) -> Tensor:
        """Outputs (B, ...) of each head for training images by number (B,) to one number.

        `masks` uint8 (B, S, S), where there are some, moved as the images were.
        """
        parts = []
        for head, values in outputs.items():
            objective = self.objectives[head]
            targets = objective.wanted(self.targets[head][numbers], masks)
            parts.append(self.weights[head] * objective.loss(values, targets, self.label_smoothing))
        return torch.stack(parts).sum()


def own_rows(rows: Tensor) -> Tensor:
    """What the only process gathers: its own rows."""
    return rows


def choose_best(scores: Scores, metric: str) -> int:
    """Of scores (R,) the place of the best by `metric`, then by loss."""
    return int(np.lexsort((scores[LOSS], -sign_of(metric) * scores[metric]))[0])


def name_scores(scores: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    """Scores by head and name as curves: `val/<head>/<name>`, and `val/loss`, the weighted sum."""
    curves = {f"val/{head}/{name}": float(value) for head, own in scores.items() for name, value in own.items()}
    return {"val/loss": sum(weights[head] * float(own[LOSS]) for head, own in scores.items()), **curves}
