"""How often the rule ships what it should not, how often each interval holds the truth: simulated, with known truth.

  python benchmarks/deciding.py                 all tables, as docs/deciding.md shows them (about half an hour)
  python benchmarks/deciding.py --draws 50      the same, rougher and sooner
  python benchmarks/deciding.py rule intervals  some of them

Images are drawn, and what each strategy says of them: a hard image is hard for all. Each line is a cell with a truth of
its own; whatever the code under test does with the draws is what a comparison or the gate does with predictions.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from meltpoint.evaluate.intervals import Interval
from meltpoint.evaluate.measured import Measured
from meltpoint.evaluate.paired import classification, segmentation
from meltpoint.evaluate.verdict import rule
from meltpoint.params.judging import Compare, Metric

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Table = Callable[[int], Iterator[str]]

SHARED = 0.7  # of the images are as hard for one strategy as for another
MARGIN = 0.01
SCENARIOS: dict[str, Callable[[int], list[float]]] = {
    "all equal": lambda count: [0.9] * count,
    "the cheapest 2 points worse": lambda count: [0.88] + [0.9] * (count - 1),
    "all but the dearest 1 point worse": lambda count: [0.89] * (count - 1) + [0.9],
    "the cheapest 2 points better": lambda count: [0.9] + [0.88] * (count - 1),
}


def settings(metric: Metric = "accuracy", margin: float = MARGIN) -> Compare:
    """The default's, but for the metric and the margin."""
    return Compare(metric=metric, margin=margin, confidence=0.95, cost="train_seconds")


def draw(
    rng: np.random.Generator, images: int, accuracies: Sequence[float], size: int = 1, alike: float = 0.0
) -> classification.Answers:
    """Strategies of known accuracy; of the images, `size` each form a group, and as many as `alike` are its twins."""
    groups = -(-images // size)
    group = np.repeat(np.arange(groups), size)[:images]
    said = []
    hard = _grouped(rng, group, groups, alike)
    for accuracy in accuracies:
        own = np.where(_grouped(rng, group, groups, alike) < SHARED, hard, _grouped(rng, group, groups, alike))
        said.append((own > accuracy).astype(np.int64)[None])
    return classification.Answers(np.zeros(images, np.int64), group, said, ["right", "wrong"])


def _grouped(rng: np.random.Generator, group: Ints, groups: int, alike: float) -> Floats:
    """Uniform numbers (N,): with a chance of `alike` the one of the image's group."""
    own = rng.random(len(group))
    return own if alike == 0 else np.where(rng.random(len(group)) < alike, rng.random(groups)[group], own)


def rule_table(draws: int) -> Iterator[str]:
    """What the rule ships, and how often that loses the margin or more to another."""
    yield "| strategies | truth | test images | ships | ships one that loses the margin |"
    yield "|---|---|---|---|---|"
    for count, sizes in (
        (2, (50, 200, 655, 2000, 10_000)),
        (3, (200, 655, 2000)),
        (6, (655, 2000)),
        (12, (655, 10_000)),
    ):
        for title, truth in SCENARIOS.items():
            for images in sizes:
                shipped, wrong = _ships(np.random.default_rng(count + images), images, truth(count), draws)
                yield f"| {count} | {title} | {images:,} | {shipped:.0%} | {wrong:.1%} |"


def _ships(rng: np.random.Generator, images: int, truth: list[float], draws: int) -> tuple[float, float]:
    names = [f"s{number}" for number in range(len(truth))]
    costs = {name: float(number) for number, name in enumerate(names)}
    found = []
    for _ in range(draws):
        val = draw(rng, images, truth).measure("accuracy").scores
        ruling = rule(names, draw(rng, images, truth).measure("accuracy"), names[int(val.argmax())], costs, settings())
        loss = max(truth) - truth[names.index(ruling.winner)]
        found.append((ruling.verdict == "ship", ruling.verdict == "ship" and loss > MARGIN - 1e-9))
    shipped, wrong = np.mean(found, axis=0)
    return float(shipped), float(wrong)


def groups_table(draws: int) -> Iterator[str]:
    """Intervals of accuracies of images in groups."""
    yield "| images | in groups of | alike | holds the score | holds the difference | equals called different |"
    yield "|---|---|---|---|---|---|"
    for images, size, alike in ((200, 5, 0.7), (655, 5, 0.7), (2000, 5, 0.7), (655, 20, 0.7), (655, 1, 0.0)):
        rng, found = np.random.default_rng(images + size), []
        for _ in range(draws):
            measured = draw(rng, images, [0.9, 0.9], size, alike).measure("accuracy")
            score, difference = measured.interval(0, 0.95), measured.difference(0, 1, 0.95)
            assert score is not None
            assert difference is not None
            found.append((_holds(score, 0.9), _holds(difference.interval, 0.0), difference.p_value < 0.05))
        score_holds, holds, different = np.mean(found, axis=0)
        yield f"| {images:,} | {size} | {alike:.0%} | {score_holds:.1%} | {holds:.1%} | {different:.1%} |"


def intervals_table(draws: int) -> Iterator[str]:
    """How often 95% intervals hold the truth, and how often the metric refuses."""
    yield "| metric | classes, largest to smallest | images | refuses | holds the score | holds the difference |"
    yield "|---|---|---|---|---|---|"
    cells: list[tuple[Metric, int, float, int, float]] = [
        (metric, *cell)
        for metric in ("accuracy", "balanced_accuracy", "macro_f1", "f1")
        for cell in ((2, 1, 50, 0.98), (2, 1, 200, 0.9), (2, 9, 200, 0.9), (10, 10, 655, 0.85), (82, 1, 2000, 0.8))
        if metric != "f1" or cell[0] == 2
    ]
    cells += [("macro_f1", 82, 50, 657, 0.7), ("log_loss", 10, 10, 655, 0.85), ("log_loss", 10, 1, 100, 0.85)]
    cells += [("roc_auc", 2, 1, 50, 0.9), ("roc_auc", 2, 9, 200, 0.9), ("quadratic_kappa", 5, 3, 200, 0.8)]
    for metric, classes, uneven, images, accuracy in cells:
        world = World(np.random.default_rng(classes + images), classes, uneven, accuracy)
        refused, score, difference = _covers(world, metric, images, draws)
        holds = ["–", "–"] if np.isnan(score) else [f"{score:.1%}", f"{difference:.1%}"]
        yield f"| {metric} | {classes}, {uneven:g}:1 | {images:,} | {refused:.0%} | {' | '.join(holds)} |"
    for images, shown in ((20, 1.0), (20, 0.5), (100, 0.3)):
        score, difference = _covers_masks(np.random.default_rng(images), images, shown, draws)
        yield f"| miou | 4, the last on {shown:.0%} of images | {images} | | {score:.1%} | {difference:.1%} |"


class World:
    """Classes of known frequency, and two predictors whose answers depend on the class."""

    def __init__(self, rng: np.random.Generator, classes: int, uneven: float, accuracy: float) -> None:
        self.rng, self.classes = rng, classes
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
        for answers in self.answers:
            own = np.where(self.rng.random(images) < SHARED, hard, self.rng.random(images))
            picked = (own[:, None] > answers.cumsum(1)[true]).sum(1).clip(0, self.classes - 1)
            said.append(picked[None])
            sure = np.full((images, self.classes), 0.4 / self.classes)
            sure[np.arange(images), picked] += self.rng.beta(4, 2, images)
            probabilities.append((sure / sure.sum(1, keepdims=True))[None])
        return classification.Answers(true, np.arange(images), said, names, probabilities)


def _covers(world: World, metric: Metric, images: int, draws: int) -> tuple[float, float, float]:
    """Shares of refusals, and of intervals of the score and of the difference that hold the truth."""
    truth = world.draw(400_000).measure(metric)
    gain = truth.sign * float(truth.scores[0] - truth.scores[1])
    found, refused = [], 0
    for _ in range(draws):
        measured = world.draw(images).measure(metric)
        score, difference = measured.interval(0, 0.95), measured.difference(0, 1, 0.95)
        if score is None or difference is None:
            refused += 1
        else:
            found.append((_holds(score, float(truth.scores[0])), _holds(difference.interval, gain)))
    holds = np.mean(found, axis=0) if len(found) > draws / 5 else (np.nan, np.nan)
    return refused / draws, float(holds[0]), float(holds[1])


def _covers_masks(rng: np.random.Generator, images: int, shown: float, draws: int) -> tuple[float, float]:
    truth = _draw_masks(rng, 20_000, shown).measure("miou")
    found = []
    for _ in range(draws):
        measured = _draw_masks(rng, images, shown).measure("miou")
        score, difference = measured.interval(0, 0.95), measured.difference(0, 1, 0.95)
        if score is not None and difference is not None:
            gain = float(truth.scores[0] - truth.scores[1])
            found.append((_holds(score, float(truth.scores[0])), _holds(difference.interval, gain)))
    score_holds, holds = np.mean(found, axis=0)
    return float(score_holds), float(holds)


def _draw_masks(rng: np.random.Generator, images: int, shown: float) -> segmentation.Answers:
    """Pixels of four classes of which images have very different shares; the last is on some images only."""
    areas = rng.gamma(0.7, 1000, (images, 4)) * np.array([4, 2, 1, 0.5])
    areas[:, 3] *= rng.random(images) < shown
    hard, pixels = rng.random((images, 1)), []
    for skill in (6.0, 5.0):
        right = rng.beta(skill, 1.5, (images, 4)) * (1 - 0.3 * hard)
        tp, false = np.rint(areas * right), np.rint(areas * (1 - right) * rng.random((images, 4)))
        pixels.append(np.stack([tp, false, np.rint(areas) - tp])[None].astype(np.int64))
    return segmentation.Answers(pixels, np.arange(images), ["a", "b", "c", "d"])


def gate_table(draws: int) -> Iterator[str]:
    """What a challenger with a known difference to the champion becomes."""
    yield "| the challenger is | test images | margin | becomes champion |"
    yield "|---|---|---|---|"
    for gain, margin in ((-0.02, 0.01), (-0.01, 0.01), (0.0, 0.01), (0.03, 0.01), (-0.003, 0.02)):
        for images in (655, 10_000):
            rng = np.random.default_rng(images)
            passed = [_passes(draw(rng, images, [0.9 + gain, 0.9]).measure("accuracy"), margin) for _ in range(draws)]
            yield f"| {100 * gain:+.1f} points | {images:,} | {100 * margin:g} | {np.mean(passed):.0%} |"
    yield ""
    yield "| rounds of challengers 0.3 points below the champion, margin 2, 10,000 images | promotions | points lost |"
    yield "|---|---|---|"
    for title, anchored in (
        ("against the present champion alone", False),
        ("against the best champion so far too", True),
    ):
        ends = [_descend(np.random.default_rng(seed), anchored) for seed in range(max(5, draws // 20))]
        promotions, lost = np.mean(ends, axis=0)
        yield f"| {title} | {promotions:.1f} of 20 | {100 * lost:.1f} |"


def _passes(measured: Measured, margin: float) -> bool:
    return measured.shows(0, 1, margin, 0.05)


def _descend(rng: np.random.Generator, anchored: bool) -> tuple[int, float]:
    """Twenty rounds: promotions, and what was lost. The best so far is the one that measured best when last scored."""
    champion = best = 0.9
    promotions = 0
    for _ in range(20):
        challenger = champion - 0.003
        measured = draw(rng, 10_000, [challenger, champion, best]).measure("accuracy")
        if _passes(measured, 0.02) and (not anchored or measured.shows(0, 2, 0.02, 0.05)):
            promotions += 1
            champion = challenger
            best = challenger if measured.scores[0] >= measured.scores[2] else best
    return promotions, 0.9 - champion


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


TABLES: dict[str, Table] = {
    "rule": rule_table, "intervals": intervals_table, "groups": groups_table, "gate": gate_table,
}  # fmt: skip


def main() -> None:
    """Print the tables that were asked for, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="default: all")
    parser.add_argument("--draws", type=int, default=500, help="of each cell (default: 500)")
    asked = parser.parse_args()
    for name in asked.tables or TABLES:
        print(f"\n{TABLES[name].__doc__}\n")
        for line in TABLES[name](asked.draws):
            print(line, flush=True)


if __name__ == "__main__":
    main()
