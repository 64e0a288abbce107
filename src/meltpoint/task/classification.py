"""Task `classification`: one class of several per image and head; two classes need one output only."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from meltpoint.errors import UserError
from meltpoint.params.model import Head
from meltpoint.task.objective import Objective

MISSING = -1  # the target of an image without a label


class ObjectiveError(UserError, ValueError):
    """Labels or classes that cannot be learnt."""


def build_objective(head: Head, classes: list[str], train_labels: "pd.Series[str]") -> Objective:
    """The objective of one head; class weights come from the training labels.

    Raises:
        ObjectiveError: fewer than two classes, or a training label that is none of them.
    """
    if len(classes) < 2:
        raise ObjectiveError(
            f"The label {head.label!r} has the classes {classes}; a classifier needs two or more. Correct data.labels."
        )
    unweighted = Classification(tuple(classes), torch.ones(len(classes)))
    if head.class_weights == "none":
        return unweighted
    return Classification(tuple(classes), balanced_weights(unweighted.encode(train_labels), len(classes)))


def count_outputs(n_classes: int) -> int:
    """One output for two classes (the logit of the second), else one for each class."""
    return 1 if n_classes == 2 else n_classes


def decode(outputs: Tensor) -> Tensor:
    """Outputs (..., N, K) to probabilities float32 (..., N, C) in class order: softmax, or sigmoid for K = 1."""
    return _logits(outputs).softmax(-1)


def balanced_weights(targets: Tensor, n_classes: int) -> Tensor:
    """n / (C * count) of each class, float32 (C,), as scikit-learn's `balanced`; 0 for a class that never occurs."""
    counts = torch.bincount(targets[targets != MISSING], minlength=n_classes)
    weights = counts.sum() / (n_classes * counts.clamp(min=1))
    return torch.where(counts > 0, weights, torch.zeros_like(weights))


@dataclass(frozen=True, eq=False)
class Classification:
    """Cross-entropy with label smoothing and class weights, equal to torch's `cross_entropy`.

    For two classes it is binary cross-entropy: the same formula with the first class's logit held at 0.
    """

    classes: tuple[str, ...]
    class_weights: Tensor  # float32 (C,)

    @property
    def n_outputs(self) -> int:
        """1 for two classes, else C."""
        return count_outputs(len(self.classes))

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Class names (N,) to class ids int64 (N,); -1 where the label is missing.

        Raises:
            ObjectiveError: a name that is none of the classes.
        """
        unknown = sorted(set(labels.dropna()) - set(self.classes))
        if unknown:
            raise ObjectiveError(
                f"The labels hold the unknown classes {unknown}; known are {list(self.classes)}. Correct data.labels,"
                " or run `dvc repro` from the download stage."
            )
        codes = pd.Categorical(labels, categories=list(self.classes)).codes  # -1 where missing
        return torch.from_numpy(np.array(codes, dtype=np.int64))

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Outputs (..., N, K) and targets int64 (N,) to the mean loss (...,), weighted by class."""
        log_probabilities = _logits(outputs).log_softmax(-1)  # (..., N, C)
        n_classes = len(self.classes)
        weights = self.class_weights.to(log_probabilities.device)
        known = (targets != MISSING).to(log_probabilities.dtype)  # (N,)
        rows = targets.clamp(min=0)
        wanted = one_hot(rows, n_classes) * (1 - label_smoothing) + label_smoothing / n_classes  # (N, C)
        losses = -(log_probabilities * wanted * weights).sum(-1) * known  # (..., N)
        total = (weights[rows] * known).sum()
        return losses.sum(-1) / torch.where(total > 0, total, torch.ones_like(total))

    def decode(self, outputs: Tensor) -> Tensor:
        """Outputs (..., N, K) to probabilities float32 (..., N, C) in class order."""
        return decode(outputs)


def _logits(outputs: Tensor) -> Tensor:
    """Outputs (..., N, K) to float32 logits (..., N, C); half precision would lose small losses."""
    outputs = outputs.float()
    return torch.cat([torch.zeros_like(outputs), outputs], -1) if outputs.shape[-1] == 1 else outputs
