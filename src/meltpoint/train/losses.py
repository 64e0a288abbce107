"""The loss that training minimises, and the scores on val: as curves, and to choose the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from meltpoint.arrays import Ints
from meltpoint.errors import UserError
from meltpoint.metrics import sign_of
from meltpoint.tasks.contract import LOSS, Gather, Objective, Scores
from meltpoint.train.problem import Part, Problem

SHOWN = 8  # images of a batch that a message names with their paths


class TrainingError(UserError, RuntimeError):
    """Training cannot go on."""


@dataclass(frozen=True)
class Losses:
    """The weighted sum of the heads' losses: what training minimises."""

    objectives: Mapping[str, Objective]
    weights: Mapping[str, float]
    targets: Mapping[str, Tensor]  # int64 (n_train, ...) a head
    label_smoothing: float

    def __call__(self, outputs: Mapping[str, Tensor], numbers: Tensor, masks: Tensor | None) -> Tensor:
        """Outputs (B, ...) of each head for training images by number (B,) to one number.

        `masks` uint8 (B, S, S), where there are some, moved as the images were.
        """
        losses = self.of_heads(outputs, numbers, masks)
        return torch.stack([self.weights[head] * loss for head, loss in losses.items()]).sum()

    def of_heads(
        self, outputs: Mapping[str, Tensor], numbers: Tensor | Ints, masks: Tensor | None
    ) -> dict[str, Tensor]:
        """The loss of each head, not weighted; of outputs of stacked heads (R, B, ...) it is (R,)."""
        losses = {}
        for head, values in outputs.items():
            objective = self.objectives[head]
            targets = objective.wanted(self.targets[head][numbers], masks)
            losses[head] = objective.loss(values, targets, self.label_smoothing)
        return losses


def check_finite(loss: float, step: int, epoch: int, rate: float, images: Part, numbers: Sequence[int]) -> None:
    """Stop when the loss of a step is NaN or infinite; `numbers` say which of `images` were in the batch.

    Raises:
        TrainingError: it is; step, epoch, learning rate and the batch's images are named.
    """
    if math.isfinite(loss):
        return
    ids = ", ".join(str(images.ids[number]) for number in numbers)
    paths = "\n".join(f"  {images.ids[number]}: {images.paths[number]}" for number in numbers[:SHOWN])
    more = f"\n  and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    raise TrainingError(
        f"The loss is {loss} in step {step}, epoch {epoch + 1}, with the learning rate {rate:.3g}. It has to be"
        f" a finite number. The batch held the images with the ids {ids}:\n{paths}{more}\n"
        "Look at these images. If nothing is wrong with them, lower `lr` or `clip`, make `warmup` longer, or set"
        " train.precision to fp32."
    )


class Validation:
    """How the heads of a problem do on the images of val, which come in batches, each once."""

    def __init__(self, problem: Problem, device: torch.device) -> None:
        self.problem, self.device = problem, device
        self.tallies = {head: objective.tally() for head, objective in problem.objectives.items()}

    def add(self, outputs: Mapping[str, Tensor], numbers: Ints) -> None:
        """Take in outputs (..., B, ...) of each head for images of val by number (B,)."""
        part, store = self.problem.val, self.problem.masks
        masks = None if store is None else torch.from_numpy(store.read_plain(part.rows[numbers])).to(self.device)
        for head, tally in self.tallies.items():
            labels = part.targets[head][numbers].to(self.device)
            tally.add(outputs[head], self.problem.objectives[head].wanted(labels, masks))

    def scores(self, gather: Gather = lambda rows: rows) -> dict[str, Scores]:
        """`loss` and metrics (...) of each head; `gather` gives the rows of all processes, where there are several."""
        return {head: tally.scores(gather) for head, tally in self.tallies.items()}


def choose_best(scores: Scores, metric: str) -> int:
    """Of scores (R,) the place of the best by `metric`, then by loss."""
    return int(np.lexsort((scores[LOSS], -sign_of(metric) * scores[metric]))[0])


def name_scores(scores: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    """Scores by head and name as curves: `val/<head>/<name>`, and `val/loss`, the weighted sum."""
    curves = {f"val/{head}/{name}": float(value) for head, own in scores.items() for name, value in own.items()}
    return {"val/loss": sum(weights[head] * float(own[LOSS]) for head, own in scores.items()), **curves}
