"""Task `segmentation`: a class for each pixel of an image; pixels that are void count for nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from meltpoint.metrics import from_pixels
from meltpoint.params.heads import DenseConvHead, DenseLinearHead, DensePyramidHead, Head, Target
from meltpoint.tables import IGNORED, present_in
from meltpoint.tasks.class_weights import weigh_classes
from meltpoint.tasks.contract import LOSS, MISSING, Gather, Objective, ObjectiveError, Scores, check_known

DenseHead = DenseLinearHead | DenseConvHead | DensePyramidHead


def build_objective(
    head: DenseHead, classes: list[str], train_labels: "pd.Series[str]", count: Callable[[], Tensor]
) -> Objective:
    """The objective of one head.

    Args:
        head: its class weights, and the weight of its Dice loss.
        classes: names, in the order of their ids.
        train_labels: of each training image the classes on its mask, as `say_present` writes them.
        count: gives the pixels of each id in the training masks, int64 (256,); asked for balanced weights alone.

    Raises:
        ObjectiveError: fewer than two classes, or a training label or a weighted class that is none of them.
    """
    if len(classes) < 2:
        raise ObjectiveError(
            f"The label {head.label!r} has the classes {classes}; masks need two or more. Correct data.labels."
        )
    weights = weigh_classes(head.class_weights, classes, lambda: count()[: len(classes)])
    shown = [_present(cell, classes) for cell in train_labels.dropna()]
    images = torch.bincount(torch.tensor([number for cell in shown for number in cell]), minlength=len(classes))
    return Pixels(tuple(classes), weights, head.dice, tuple(images.tolist()))


def count_outputs(n_classes: int, target: Target) -> int:  # noqa: ARG001 - the words of every task
    """One output for each class."""
    return n_classes


def decode(outputs: Tensor, head: Head) -> Tensor:  # noqa: ARG001
    """Logits (..., N, C, S, S) to probabilities float32 of the same shape; they sum to 1 over the classes."""
    return outputs.float().softmax(-3)


def count_pixels(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Pairs of classes in each image, int64 (..., N, C, C), row the true class, column the most probable one.

    For probabilities (or logits) (..., N, C, S, S) and masks uint8 (N, S, S); ignored pixels are left out.
    """
    ids = probabilities.max(-3).indices  # over this dimension `argmax` takes three times as long on a CPU
    return count_ids(ids, masks, probabilities.shape[-3])


def count_ids(ids: Tensor, masks: Tensor, n_classes: int) -> Tensor:
    """Pairs of classes in each image, int64 (..., N, C, C), for answers as class ids (..., N, S, S)."""
    known, cells = masks != IGNORED, n_classes**2
    images = torch.arange(len(masks), device=masks.device)[:, None, None]
    places = (images * n_classes + masks) * n_classes  # (N, S, S): where the row of the true class begins
    answers = ids[None].flatten(0, -4)
    counts = [torch.bincount((places + one)[known], minlength=len(masks) * cells) for one in answers]
    return torch.stack(counts).reshape(*ids.shape[:-2], n_classes, n_classes)


class Sums(NamedTuple):
    """What a loss needs of images; sums of it over batches give the loss over all images."""

    entropy: Tensor  # (...,) weighted cross-entropy over pixels
    weight: Tensor  # () of the classes of these pixels
    overlap: Tensor  # (..., C) probability of each class on its own pixels
    size: Tensor  # (..., C) squared probabilities, and pixels, of each class
    pixels: Tensor  # (C,) of each class


@dataclass(frozen=True, eq=False)
class Pixels:
    """Cross-entropy as torch's, with void pixels left out, plus `dice` times a soft Dice loss.

    The Dice loss is 1 less the mean of 2 sum(p g) / (sum(p^2) + sum(g^2)) over the classes that occur, sums taken over
    all pixels of the batch: Milletari, Navab and Ahmadi: V-Net, 3DV 2016.
    """

    classes: tuple[str, ...]
    class_weights: Tensor  # float32 (C,), of the cross-entropy
    dice: float
    images: tuple[int, ...]  # training images that show each class

    @property
    def n_outputs(self) -> int:
        """C."""
        return len(self.classes)

    def encode(self, labels: "pd.Series[str]") -> Tensor:
        """Classes on masks (N,) to the class int64 (N,) that fewest training images show; -1 where there is none.

        Raises:
            ObjectiveError: a name that is none of the classes.
        """
        shown = [[] if pd.isna(cell) else _present(cell, self.classes) for cell in labels]
        rarest = [min(cell, key=lambda number: (self.images[number], number), default=MISSING) for cell in shown]
        return torch.tensor(rarest, dtype=torch.int64)

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
        """The masks uint8 (N, S, S)."""
        assert masks is not None, "views of a label of masks hold them"
        return masks

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Logits (..., N, C, S, S) and masks uint8 (N, S, S) to the mean loss (...,) over labelled pixels."""
        return self.finish(self.sum(outputs, targets, label_smoothing))

    def decode(self, outputs: Tensor) -> Tensor:
        """Logits (..., N, C, S, S) to probabilities float32 of the same shape."""
        return outputs.float().softmax(-3)

    def tally(self) -> "PixelTally":
        """An empty tally."""
        return PixelTally(self)

    def sum(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Sums:
        """What the loss of some images is made of, as differentiable as the loss; arguments as of `loss`."""
        logits, wanted = outputs.float(), targets.long()
        leading, weights = logits.shape[:-4], self.class_weights.to(logits.device)
        entropy = cross_entropy(
            logits.flatten(0, -4),
            wanted.expand(*leading, *wanted.shape).flatten(0, -3),
            weights,
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        pixels = torch.bincount(wanted.flatten(), minlength=IGNORED + 1)[: len(self.classes)]
        overlap = size = logits.new_zeros(*leading, len(self.classes))
        if self.dice:
            probabilities = logits.softmax(-3) * (targets != IGNORED)[:, None]
            own = targets[:, None] == torch.arange(len(self.classes), device=targets.device)[:, None, None]
            overlap = (probabilities * own).sum((-1, -2, -4))
            size = probabilities.square().sum((-1, -2, -4)) + pixels
        return Sums(
            entropy.reshape(*leading, *wanted.shape).sum((-1, -2, -3)), (weights * pixels).sum(), overlap, size, pixels
        )

    def finish(self, sums: Sums) -> Tensor:
        """The loss (...,) of sums over images."""
        loss = sums.entropy / torch.where(sums.weight > 0, sums.weight, torch.ones_like(sums.weight))
        if not self.dice:
            return loss
        occurs = sums.pixels > 0
        shares = torch.where(occurs, 2 * sums.overlap / sums.size.clamp(min=1e-6), 1.0)
        return loss + self.dice * (1 - shares).sum(-1) / occurs.sum().clamp(min=1)


class PixelTally:
    """Adds up pairs of classes and what the loss is made of, in float64: memory does not grow with the images."""

    def __init__(self, objective: Pixels) -> None:
        self.objective = objective
        self.totals: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Take a batch in: logits (..., N, C, S, S) and masks uint8 (N, S, S)."""
        pairs = count_pixels(outputs, targets).sum(-3)  # (..., C, C)
        own = [value.cpu().double() for value in (pairs, *self.objective.sum(outputs, targets, 0.0))]
        self.totals = [one + two for one, two in zip(self.totals, own, strict=True)] if self.totals else own

    def scores(self, gather: Gather, /) -> Scores:
        """`loss`, `miou`, `dice` and `pixel_accuracy` over all pixels that are not void, each (...)."""
        pairs, *sums = (gather(total[None]).sum(0) for total in self.totals)
        counts = pairs.numpy()
        hits = np.diagonal(counts, axis1=-2, axis2=-1)
        pixels = from_pixels(hits, counts.sum(-2) - hits, counts.sum(-1) - hits)
        return {LOSS: self.objective.finish(Sums(*sums)).numpy(), **pixels}


def _present(cell: str, classes: Sequence[str]) -> list[int]:
    """The ids of the classes that a label cell names."""
    names = present_in([cell])
    check_known(names, classes)
    return [number for number, name in enumerate(classes) if name in names]
