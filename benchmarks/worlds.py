"""Images, and what strategies of known truth say of them, for `deciding`: a hard image is hard for most of them."""

from collections.abc import Sequence

import numpy as np

from meltpoint.arrays import Floats, Ints
from meltpoint.params.judging import Metric
from meltpoint.tasks.classification import paired as classification
from meltpoint.tasks.segmentation import paired as segmentation

SHARED = 0.7  # of the images are as hard for one strategy as for another
SPREAD = 0.01  # standard deviation of the accuracy of a training


def draw(
    rng: np.random.Generator,
    images: int,
    accuracies: Sequence[float],
    group: Ints | None = None,
    alike: float = 0.0,
    trainings: Sequence[int] = (),
) -> classification.Answers:
    """Strategies of known accuracy on images in groups, of which as many as `alike` have the luck of their group.

    With `trainings` each strategy was trained so often, and a training's accuracy is off by `SPREAD` as chance has it.
    """
    group = np.arange(images) if group is None else group
    said = []
    hard = _grouped(rng, group, alike)
    for accuracy, count in zip(accuracies, trainings or [1] * len(accuracies), strict=True):
        rows = []
        for _ in range(count):
            own = np.where(_grouped(rng, group, alike) < SHARED, hard, _grouped(rng, group, alike))
            reached = accuracy + SPREAD * rng.standard_normal() if trainings else accuracy
            rows.append(own > reached)
        said.append(np.stack(rows).astype(np.int64))
    return classification.Answers(np.zeros(len(group), np.int64), group, said, ["right", "wrong"])


def make_groups(rng: np.random.Generator, images: int, count: int, uneven: float) -> Ints:
    """The group (N,) of about so many images: sizes are log-normal, all equal where `uneven` is 0."""
    sizes = np.exp(uneven * rng.standard_normal(count))
    return np.repeat(np.arange(count), np.maximum(1, np.rint(images * sizes / sizes.sum())).astype(np.int64))


def _grouped(rng: np.random.Generator, group: Ints, alike: float) -> Floats:
    """Uniform numbers (N,): with a chance of `alike` the one of the image's group."""
    own = rng.random(len(group))
    return own if alike == 0 else np.where(rng.random(len(group)) < alike, rng.random(group.max() + 1)[group], own)


class World:
    """Classes of known frequency, and two predictors whose answers depend on the class.

    The second gives the true class next to nothing in a share of `sure` of its answers.
    """

    def __init__(
        self, rng: np.random.Generator, classes: int, uneven: float, accuracy: float, sure: float = 0.0
    ) -> None:
        self.rng, self.classes, self.sure = rng, classes, sure
        self.prior = np.geomspace(1, 1 / uneven, classes)
        self.prior /= self.prior.sum()
        self.answers = [self._answers(accuracy - lost) for lost in (0.0, 0.03)]

    def _answers(self, accuracy: float) -> Floats:
        """The chance (C, C) of each answer to each class."""
        right = np.clip(self.rng.normal(accuracy, 0.1, self.classes), 0.3, 0.99)
        others = self.rng.dirichlet(np.ones(self.classes), self.classes)
        np.fill_diagonal(others, 0)
        others *= ((1 - right) / others.sum(1))[:, None]
        np.fill_diagonal(others, right)
        return others

    def draw(self, images: int) -> classification.Answers:
        """Images, answers, and probabilities that are honest but for noise."""
        true = self.rng.choice(self.classes, images, p=self.prior)
        hard, names = self.rng.random(images), [str(number) for number in range(self.classes)]
        said, probabilities = [], []
        for which, answers in enumerate(self.answers):
            own = np.where(self.rng.random(images) < SHARED, hard, self.rng.random(images))
            picked = (own[:, None] > answers.cumsum(1)[true]).sum(1).clip(0, self.classes - 1)
            said.append(picked[None])
            sure = np.full((images, self.classes), 0.4 / self.classes)
            sure[np.arange(images), picked] += self.rng.beta(4, 2, images)
            wrong = np.flatnonzero(self.rng.random(images) < which * self.sure)
            sure[wrong, true[wrong]] = 1e-9
            probabilities.append((sure / sure.sum(1, keepdims=True))[None])
        return classification.Answers(true, np.arange(images), said, names, probabilities)


def draw_masks(rng: np.random.Generator, images: int, shown: float) -> segmentation.Answers:
    """Pixels of four classes of which images have very different shares; the last is on some images only."""
    areas = rng.gamma(0.7, 1000, (images, 4)) * np.array([4, 2, 1, 0.5])
    areas[:, 3] *= rng.random(images) < shown
    hard, pixels = rng.random((images, 1)), []
    for skill in (6.0, 5.0):
        right = rng.beta(skill, 1.5, (images, 4)) * (1 - 0.3 * hard)
        tp, false = np.rint(areas * right), np.rint(areas * (1 - right) * rng.random((images, 4)))
        pixels.append(np.stack([tp, false, np.rint(areas) - tp])[None].astype(np.int64))
    return segmentation.Answers(pixels, np.arange(images), ["a", "b", "c", "d"])


def list_cells() -> list[tuple[Metric, int, float, int, float, float]]:
    """Metric, classes, how uneven, images, accuracy, share of answers that are wrongly sure."""
    cells: list[tuple[Metric, int, float, int, float, float]] = [
        (metric, *cell, 0.0)
        for metric in ("accuracy", "balanced_accuracy", "macro_f1", "f1")
        for cell in ((2, 1, 50, 0.98), (2, 1, 200, 0.9), (2, 9, 200, 0.9), (10, 10, 655, 0.85), (82, 1, 2000, 0.8))
        if metric != "f1" or cell[0] == 2
    ]
    cells += [("macro_f1", 82, 50, 657, 0.7, 0), ("macro_f1", 20, 1, 240, 0.8, 0)]
    cells += [("log_loss", 10, 10, 655, 0.85, sure) for sure in (0.0, 0.002, 0.02)]
    cells += [("log_loss", 10, 1, 100, 0.85, 0), ("log_loss", 2, 1, 2000, 0.9, 0.0005)]
    cells += [("roc_auc", 2, 1, 50, 0.9, 0), ("roc_auc", 2, 9, 200, 0.9, 0), ("roc_auc", 2, 0.05, 655, 0.9, 0)]
    cells += [("roc_auc", 5, 5, 655, 0.85, 0), ("quadratic_kappa", 5, 3, 200, 0.8, 0)]
    return cells
