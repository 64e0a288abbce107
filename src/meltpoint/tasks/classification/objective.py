"""Task `classification`: one class of several per image and head, in any order (nominal) or as steps (ordinal)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from meltpoint.metrics import confusion, from_confusion, least_probability
from meltpoint.params.heads import Head, Target
from meltpoint.tasks.class_weights import weigh_classes
from meltpoint.tasks.contract import LOSS, MISSING, Gather, Objective, ObjectiveError, Scores, check_known


def build_objective(
    head: Head,
    classes: list[str],
    train_labels: "pd.Series[str]",
    count: Callable[[], Tensor],  # noqa: ARG001 - of pixels, for the tasks that have some
) -> Objective:
    """The objective of one head; balanced class weights come from the training labels.

    Raises:
        ObjectiveError: fewer than two classes, a training label or a weighted class that is none of them, or a
            threshold where there are not two.
    """
    if len(classes) < 2:
        raise ObjectiveError(
            f"The label {head.label!r} has the classes {classes}; a classifier needs two or more. Correct data.labels."
        )
    if head.threshold is not None and len(classes) != 2:
        raise ObjectiveError(
            f"A head of the label {head.label!r} has a threshold, and {len(classes)} classes: {classes}. A threshold"
            " needs exactly two. Set it to null, or make a label of two classes with the kind `equals`."
        )
    targets = encode(train_labels, classes)
    count_images = partial(torch.bincount, targets[targets != MISSING], minlength=len(classes))
    return ClassObjective(tuple(classes), weigh_classes(head.class_weights, classes, count_images), head.target)


def count_outputs(n_classes: int, target: Target | None) -> int:
    """Nominal: one output for two classes (the logit of the second), else one for each. Ordinal: one for each step."""
    return n_classes if target != "ordinal" and n_classes > 2 else n_classes - 1


def decode(outputs: Tensor, head: Head) -> Tensor:
    """Outputs (..., N, K) of a head to probabilities float32 (..., N, C) in class order; rows sum to 1."""
    return decode_ordinal(outputs) if head.target == "ordinal" else decode_nominal(outputs)


def decode_nominal(outputs: Tensor) -> Tensor:
    """Outputs (..., N, K) to probabilities float32 (..., N, C): softmax, or sigmoid for K = 1."""
    return _logits(outputs).softmax(-1)


def decode_ordinal(outputs: Tensor) -> Tensor:
    """Outputs (..., N, K) to probabilities float32 (..., N, K + 1).

    Output k is the logit of P(y > k | y >= k), so that running products give P(y > k) (CORN; Shi, Cao and Raschka: Deep
    Neural Networks for Rank-Consistent Ordinal Regression Based On Conditional Probabilities, 2021).
    """
    outputs = outputs.float()
    certain = torch.ones_like(outputs[..., :1])
    reached = torch.cat([certain, outputs.sigmoid().cumprod(-1)], -1)  # P(y >= k), (..., N, C)
    stayed = torch.cat([(-outputs).sigmoid(), certain], -1)  # P(y = k | y >= k)
    return reached * stayed


def encode(labels: "pd.Series[str]", classes: Sequence[str]) -> Tensor:
    """Class names (N,) to class ids int64 (N,); -1 where the label is missing.

    Raises:
        ObjectiveError: a name that is none of the classes.
    """
    check_known(labels.dropna(), classes)
    codes = pd.Categorical(labels, categories=list(classes)).codes  # -1 where missing
    return torch.from_numpy(np.array(codes, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class ClassObjective:
    """A class of each image: nominal ones are learnt by `nominal_loss`, ordinal ones by `ordinal_loss`."""

    classes: tuple[str, ...]
    class_weights: Tensor  # float32 (C,)
    target: Target | None

    @property
    def n_outputs(self) -> int:
        """Nominal: 1 for two classes, else C. Ordinal: C - 1."""
        return count_outputs(len(self.classes), self.target)

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Class names (N,) to class ids int64 (N,); -1 where the label is missing."""
        return encode(labels, self.classes)

    def counts_for(self, targets: Tensor) -> Tensor:
        """The class ids (N,) as they are."""
        return targets

    def learn_thresholds(
        self,
        name: str,
        probabilities: NDArray[np.floating],
        targets: Tensor,
        groups: NDArray[np.object_],
    ) -> None:
        """None: one class is the answer."""

    def wanted(self, labels: Tensor, masks: Tensor | None, /) -> Tensor:  # noqa: ARG002
        """The class ids (N,) as they are."""
        return labels

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Outputs (..., N, K) and targets int64 (N,) to the mean loss (...,), weighted by class."""
        loss = ordinal_loss if self.target == "ordinal" else nominal_loss
        return loss(outputs, targets, self.class_weights.to(outputs.device), label_smoothing)

    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (..., N, K) to probabilities float32 (..., N, C) in class order."""
        return decode_ordinal(outputs) if self.target == "ordinal" else decode_nominal(outputs)

    def tally(self) -> "OutputTally":
        """An empty tally."""
        return OutputTally(self)


def nominal_loss(outputs: Tensor, targets: Tensor, class_weights: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy with label smoothing and class weights (C,), equal to torch's `cross_entropy`.

    For two classes it is binary cross-entropy: the same formula with the first class's logit held at 0.
    """
    log_probabilities = _logits(outputs).log_softmax(-1)  # (..., N, C)
    n_classes = len(class_weights)
    known = (targets != MISSING).to(log_probabilities.dtype)  # (N,)
    rows = targets.clamp(min=0)
    wanted = one_hot(rows, n_classes) * (1 - label_smoothing) + label_smoothing / n_classes  # (N, C)
    losses = -(log_probabilities * wanted * class_weights).sum(-1) * known  # (..., N)
    return _mean(losses.sum(-1), (class_weights[rows] * known).sum())


def ordinal_loss(outputs: Tensor, targets: Tensor, class_weights: Tensor, label_smoothing: float) -> Tensor:
    """CORN's loss: of each step k, binary cross-entropy of `y > k` over the images with y >= k, all in one mean.

    A row weighs as its class does. Label smoothing smooths each of these yes-or-no questions. With two classes there is
    one question, and this is the nominal loss (but for smoothing and unequal weights together).
    """
    outputs = outputs.float()
    steps = torch.arange(outputs.shape[-1], device=outputs.device)
    asked = targets[:, None] >= steps  # (N, K); never for a missing label
    wanted = (targets[:, None] > steps) * (1 - label_smoothing) + label_smoothing / 2
    losses = -(wanted * logsigmoid(outputs) + (1 - wanted) * logsigmoid(-outputs))  # (..., N, K)
    weights = asked * class_weights[targets.clamp(min=0)][:, None]
    return _mean((losses * weights).sum((-2, -1)), weights.sum())


class OutputTally:
    """Keeps what a head gives of all images, a few numbers each, and looks at them together."""

    def __init__(self, objective: ClassObjective) -> None:
        self.objective = objective
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Take a batch in: outputs (..., N, K) and class ids int64 (N,)."""
        self.outputs.append(outputs)
        self.targets.append(targets)

    def scores(self, gather: Gather, /) -> Scores:
        """`loss` and metrics, each (...), by the metrics' names.

        The answer is the most probable class: thresholds are learnt of the trained model, and a tree joins its heads,
        so that no checkpoint is chosen by them.
        """
        outputs, targets = gather(torch.cat(self.outputs, -2)).cpu(), gather(torch.cat(self.targets)).cpu()
        probabilities = self.objective.decode(outputs)
        n_classes = probabilities.shape[-1]
        predicted = probabilities.argmax(-1).numpy()  # (..., N)
        counts = np.stack([confusion(targets.numpy(), row, n_classes) for row in predicted.reshape(-1, len(targets))])
        counts = counts.reshape(*predicted.shape[:-1], n_classes, n_classes)
        loss = self.objective.loss(outputs, targets, 0.0).double().numpy()
        known = targets != MISSING
        own = targets[known].expand(*probabilities.shape[:-2], -1).unsqueeze(-1)
        given = probabilities[..., known, :].double().gather(-1, own).squeeze(-1)  # to the true class, (..., N)
        log_loss = -given.clamp(least_probability(n_classes), 1).log().mean(-1)
        return {LOSS: loss, **from_confusion(counts), "log_loss": np.asarray(log_loss.numpy(), dtype=np.float64)}


def _logits(outputs: Tensor) -> Tensor:
    """Outputs (..., N, K) to float32 logits (..., N, C); half precision would lose small losses."""
    outputs = outputs.float()
    return torch.cat([torch.zeros_like(outputs), outputs], -1) if outputs.shape[-1] == 1 else outputs


def _mean(total: Tensor, weight: Tensor) -> Tensor:
    """Total / weight, and 0 where there is none."""
    return total / torch.where(weight > 0, weight, torch.ones_like(weight))
