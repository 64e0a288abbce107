"""Task `classification`: one class of several per image and head, in any order (nominal) or as steps (ordinal)."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from meltpoint.errors import UserError
from meltpoint.params.model import ClassWeights, Head, Target
from meltpoint.task.objective import Objective

MISSING = -1  # the target of an image without a label


class ObjectiveError(UserError, ValueError):
    """Labels or classes that cannot be learnt."""


def build_objective(head: Head, classes: list[str], train_labels: "pd.Series[str]") -> Objective:
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
            " parts two classes. Set it to null, or make a label of two classes with the kind `equals`."
        )
    weights = weigh_classes(head.class_weights, classes, encode(train_labels, classes))
    match head.target:
        case "nominal":
            return Nominal(tuple(classes), weights)
        case "ordinal":
            return Ordinal(tuple(classes), weights)
        case _:
            assert_never(head.target)


def count_outputs(n_classes: int, target: Target) -> int:
    """Nominal: one output for two classes (the logit of the second), else one for each. Ordinal: one for each step."""
    return n_classes if target == "nominal" and n_classes > 2 else n_classes - 1


def decode(outputs: Tensor, head: Head) -> Tensor:
    """Outputs (..., N, K) of a head to probabilities float32 (..., N, C) in class order; rows sum to 1."""
    return decode_nominal(outputs) if head.target == "nominal" else decode_ordinal(outputs)


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
    unknown = sorted(set(labels.dropna()) - set(classes))
    if unknown:
        raise ObjectiveError(
            f"The labels hold the unknown classes {unknown}; known are {list(classes)}. Correct data.labels,"
            " or run `dvc repro` from the download stage."
        )
    codes = pd.Categorical(labels, categories=list(classes)).codes  # -1 where missing
    return torch.from_numpy(np.array(codes, dtype=np.int64))


def weigh_classes(wish: ClassWeights, classes: Sequence[str], targets: Tensor) -> Tensor:
    """The weight of each class in the loss, float32 (C,): as wished by name, or from targets int64 (N,).

    Raises:
        ObjectiveError: a weight for a class that there is not.
    """
    if wish == "none":
        return torch.ones(len(classes))
    if wish == "balanced":
        return balanced_weights(targets, len(classes))
    _check_weighted(wish, classes)
    return torch.tensor([wish.get(name, 1.0) for name in classes], dtype=torch.float32)


def balanced_weights(targets: Tensor, n_classes: int) -> Tensor:
    """n / (C * count) of each class, float32 (C,), as scikit-learn's `balanced`; 0 for a class that never occurs."""
    counts = torch.bincount(targets[targets != MISSING], minlength=n_classes)
    weights = counts.sum() / (n_classes * counts.clamp(min=1))
    return torch.where(counts > 0, weights, torch.zeros_like(weights))


@dataclass(frozen=True, eq=False)
class Nominal:
    """Cross-entropy with label smoothing and class weights, equal to torch's `cross_entropy`.

    For two classes it is binary cross-entropy: the same formula with the first class's logit held at 0.
    """

    classes: tuple[str, ...]
    class_weights: Tensor  # float32 (C,)

    @property
    def n_outputs(self) -> int:
        """1 for two classes, else C."""
        return count_outputs(len(self.classes), "nominal")

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Class names (N,) to class ids int64 (N,); -1 where the label is missing."""
        return encode(labels, self.classes)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Outputs (..., N, K) and targets int64 (N,) to the mean loss (...,), weighted by class."""
        log_probabilities = _logits(outputs).log_softmax(-1)  # (..., N, C)
        n_classes = len(self.classes)
        weights = self.class_weights.to(log_probabilities.device)
        known = (targets != MISSING).to(log_probabilities.dtype)  # (N,)
        rows = targets.clamp(min=0)
        wanted = one_hot(rows, n_classes) * (1 - label_smoothing) + label_smoothing / n_classes  # (N, C)
        losses = -(log_probabilities * wanted * weights).sum(-1) * known  # (..., N)
        return _mean(losses.sum(-1), (weights[rows] * known).sum())

    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (..., N, K) to probabilities float32 (..., N, C) in class order."""
        return decode_nominal(outputs)


@dataclass(frozen=True, eq=False)
class Ordinal:
    """CORN's loss: of each step k, binary cross-entropy of `y > k` over the images with y >= k, all in one mean.

    A row weighs as its class does. Label smoothing smooths each of these yes-or-no questions. With two classes there is
    one question, and this is the nominal loss (but for smoothing and unequal weights together).
    """

    classes: tuple[str, ...]
    class_weights: Tensor  # float32 (C,)

    @property
    def n_outputs(self) -> int:
        """C - 1."""
        return count_outputs(len(self.classes), "ordinal")

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Class names (N,) to class ids int64 (N,); -1 where the label is missing."""
        return encode(labels, self.classes)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Outputs (..., N, K) and targets int64 (N,) to the mean loss (...,), weighted by class."""
        outputs = outputs.float()
        steps = torch.arange(self.n_outputs, device=outputs.device)
        asked = targets[:, None] >= steps  # (N, K); never for a missing label
        wanted = (targets[:, None] > steps) * (1 - label_smoothing) + label_smoothing / 2
        losses = -(wanted * logsigmoid(outputs) + (1 - wanted) * logsigmoid(-outputs))  # (..., N, K)
        weights = asked * self.class_weights.to(outputs.device)[targets.clamp(min=0)][:, None]
        return _mean((losses * weights).sum((-2, -1)), weights.sum())

    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (..., N, K) to probabilities float32 (..., N, C) in class order."""
        return decode_ordinal(outputs)


def _logits(outputs: Tensor) -> Tensor:
    """Outputs (..., N, K) to float32 logits (..., N, C); half precision would lose small losses."""
    outputs = outputs.float()
    return torch.cat([torch.zeros_like(outputs), outputs], -1) if outputs.shape[-1] == 1 else outputs


def _mean(total: Tensor, weight: Tensor) -> Tensor:
    """Total / weight, and 0 where there is none."""
    return total / torch.where(weight > 0, weight, torch.ones_like(weight))


def _check_weighted(wish: Mapping[str, float], classes: Sequence[str]) -> None:
    for name in wish:
        if name not in classes:
            near = difflib.get_close_matches(name, classes, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ObjectiveError(
                f"class_weights name the class {name!r}; the label has {list(classes)}.{hint} Correct it in heads."
            )
