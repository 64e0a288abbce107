"""The weight of each class in a loss: as wished by name, or so that rare classes count as much as common ones."""

import difflib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from meltpoint.params.heads import ClassWeights
from meltpoint.tasks.contract import ObjectiveError


def weigh_classes(wish: ClassWeights, classes: Sequence[str], count: Callable[[], Tensor]) -> Tensor:
    """The weight of each class in the loss, float32 (C,); `count` gives how often each occurs, int64 (C,), if asked.

    Raises:
        ObjectiveError: a weight for a class that there is not.
    """
    if wish == "none":
        return torch.ones(len(classes))
    if wish == "balanced":
        return balanced_weights(count())
    for name in wish:
        if name not in classes:
            near = difflib.get_close_matches(name, classes, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ObjectiveError(
                f"class_weights name the class {name!r}; the label has {list(classes)}.{hint} Correct it in heads."
            )
    return torch.tensor([wish.get(name, 1.0) for name in classes], dtype=torch.float32)


def balanced_weights(counts: Tensor) -> Tensor:
    """n / (C * count) of each class, float32 (C,), as scikit-learn's `balanced`; 0 for a class that never occurs."""
    weights = counts.sum() / (len(counts) * counts.clamp(min=1))
    return torch.where(counts > 0, weights, torch.zeros_like(weights))
