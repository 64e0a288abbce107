"""Task `tagging`: for each tag the answer yes or no of each image; what is not known of an image counts for nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from meltpoint.metrics import average_precision, from_tags
from meltpoint.params.heads import AsymmetricLoss, Head, TagThresholds, Target
from meltpoint.tables import NOT_KNOWN, holds_tags, present_in, read_tags
from meltpoint.tasks.class_weights import weigh_classes
from meltpoint.tasks.contract import LOSS, MISSING, Gather, Objective, ObjectiveError, Scores, check_known
from meltpoint.tasks.tagging.tag_thresholds import EVEN, choose_all, count_tags

LEAST = 1e-8  # a probability whose logarithm is taken


def build_objective(
    head: Head,
    classes: list[str],
    train_labels: "pd.Series[str]",
    count: Callable[[], Tensor],  # noqa: ARG001 - of pixels, for the tasks that have some
) -> Objective:
    """The objective of one head; balanced class weights come from how many training images have each tag.

    Raises:
        ObjectiveError: no tags, or a training label or a weighted class that is none of them.
    """
    if not classes:
        raise ObjectiveError(f"The label {head.label!r} has no tags. Correct data.labels.")
    plain = Tags(tuple(classes), torch.ones(len(classes)), torch.zeros(len(classes)), head.loss, head.tag_thresholds)
    images = (plain.encode(train_labels) == 1).sum(0)
    weights = weigh_classes(head.class_weights, classes, lambda: images)
    return replace(plain, class_weights=weights, images=images)


def count_outputs(n_classes: int, target: Target | None) -> int:  # noqa: ARG001 - the words of every task
    """One output for each tag."""
    return n_classes


def decode(outputs: Tensor, head: Head) -> Tensor:  # noqa: ARG001
    """Logits (..., N, K) to the probability float32 (..., N, K) of each tag, each by itself."""
    return outputs.float().sigmoid()


@dataclass(frozen=True, eq=False)
class Tags:
    """Tags of each image. `images` (K,) says how many training images have each."""

    classes: tuple[str, ...]
    class_weights: Tensor  # float32 (K,)
    images: Tensor
    wish: AsymmetricLoss | None
    thresholds: TagThresholds | None

    @property
    def n_outputs(self) -> int:
        """K."""
        return len(self.classes)

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Label cells (N,) to int64 (N, K): 1 or 0, and -1 where it is not known.

        Raises:
            ObjectiveError: a tag that is none of the classes, or cells that are not of tags.
        """
        known = labels.dropna()
        if len(known) and not holds_tags(known):
            raise ObjectiveError(
                f"The labels hold {known.iloc[0]!r}, which is no list of tags. Set the label's kind to tags in"
                " data.labels, or task.kind to classification."
            )
        check_known({name.removeprefix(NOT_KNOWN) for name in present_in(set(known))}, self.classes)
        return torch.from_numpy(read_tags(labels, self.classes).astype(np.int64))

    def counts_for(self, targets: Tensor) -> Tensor:
        """Targets (N, K) to the tag int64 (N,) of each image that fewest training images have; -1 without any."""
        order = np.argsort(self.images.numpy(), kind="stable")
        has = (targets == 1)[:, torch.from_numpy(order)]
        rarest = torch.from_numpy(order)[has.int().argmax(1)]
        return torch.where(has.any(1), rarest, MISSING)

    def wanted(self, labels: Tensor, masks: Tensor | None, /) -> Tensor:  # noqa: ARG002
        """The states (N, K) as they are."""
        return labels

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Logits (..., N, K) and states int64 (N, K) to the mean loss (...,) over what is known."""
        loss = tag_loss(outputs, targets, self.wish, label_smoothing)
        weights = (targets != MISSING) * self.class_weights.to(outputs.device)
        total = weights.sum()
        return (loss * weights).sum((-2, -1)) / torch.where(total > 0, total, torch.ones_like(total))

    def decode(self, outputs: Tensor) -> Tensor:
        """Logits (..., N, K) to probabilities float32 (..., N, K), which do not sum to 1."""
        return outputs.float().sigmoid()

    def tally(self) -> "TagTally":
        """An empty tally."""
        return TagTally(self)

    def learn_thresholds(
        self, name: str, probabilities: NDArray[np.floating], targets: Tensor, groups: NDArray[np.object_]
    ) -> list[float] | None:
        """The threshold of each tag, learnt of probabilities and states (N, K) on val; 0.5 each without a wish."""
        truth = targets.numpy().astype(np.int8)
        return choose_all(name, self.classes, probabilities, truth, groups, self.thresholds)


def tag_loss(outputs: Tensor, targets: Tensor, wish: AsymmetricLoss | None, label_smoothing: float) -> Tensor:
    """The loss (..., N, K) of each cell: binary cross-entropy, or asymmetric (Ridnik et al., ICCV 2021, equation 7).

    L+ = (1 - p)^gamma_pos log p of present tags, L- = m^gamma_neg log(1 - m) of absent ones, m = max(p - clip, 0).
    """
    outputs = outputs.float()
    present = (targets == 1).float() * (1 - label_smoothing) + label_smoothing / 2
    if wish is None:
        return -(present * logsigmoid(outputs) + (1 - present) * logsigmoid(-outputs))
    shares = outputs.sigmoid()
    moved = (shares - wish.clip).clamp(min=0)
    gain = (1 - shares) ** wish.gamma_pos * logsigmoid(outputs)
    lost = moved**wish.gamma_neg * (1 - moved).clamp(min=LEAST).log()
    return -(present * gain + (1 - present) * lost)


class TagTally:
    """Keeps what a head gives of all images, and looks at them together."""

    def __init__(self, objective: Tags) -> None:
        self.objective = objective
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Take a batch in: logits (..., N, K) and states int64 (N, K)."""
        self.outputs.append(outputs)
        self.targets.append(targets)

    def scores(self, gather: Gather, /) -> Scores:
        """`loss`, `map`, and F1 at 0.5, each (...): thresholds are learnt of the trained model."""
        outputs, targets = gather(torch.cat(self.outputs, -2)).cpu(), gather(torch.cat(self.targets)).cpu()
        leading, truth = outputs.shape[:-2], targets.numpy().astype(np.int8)
        shares = self.objective.decode(outputs).numpy().reshape(-1, *truth.shape)
        areas = np.stack([average_precision(truth, own) for own in shares])
        counts = np.stack([np.stack(count_tags(truth, own > EVEN)) for own in shares], axis=1)
        there = np.maximum(1, (~np.isnan(areas)).sum(1))
        scores = {"map": np.nansum(areas, axis=1) / there, **from_tags(*counts)}
        loss = self.objective.loss(outputs, targets, 0.0).double().numpy()
        return {LOSS: loss, **{name: np.asarray(own).reshape(leading) for name, own in scores.items()}}
