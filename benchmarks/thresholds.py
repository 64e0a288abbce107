"""How often what a head was asked for fails on new images: python benchmarks/thresholds.py [ROUNDS]. Needs no data.

Scores are drawn from distributions that are known, a threshold is learnt of each draw, and what it gives on the whole
population is computed. "missed, as val has it" is the usual way: the threshold at which val itself reaches the wish.
A wish may be missed in 5% of draws; the Monte-Carlo error of 1,000 rounds is 0.7 points there.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from meltpoint.arrays import Flags
from meltpoint.params.heads import Threshold
from meltpoint.tasks.thresholds import choose_purest, choose_set, choose_threshold

Numbers = NDArray[np.float64]
ROUNDS = 1000
WISHES = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Scores:
    """Normal scores: those that are looked for lie `apart` above the others, and `step` is how coarse scores are.

    Of the others `high` lie around 6, above all that is looked for: the surest are then wrong.
    """

    name: str
    apart: float
    step: float = 0.0
    high: float = 0.0

    def draw(self, rng: np.random.Generator, flags: Flags) -> Numbers:
        """Values (N,) of images that are looked for or not."""
        values = rng.normal(0, 1, len(flags)) + self.apart * flags
        values += 6 * (~flags & (rng.random(len(flags)) < self.high))
        return np.floor(values / self.step) * self.step if self.step else values

    def shares(self, threshold: float) -> tuple[float, float]:
        """Of those looked for and of the others, which share has this value or more."""
        at = np.ceil(threshold / self.step) * self.step if self.step else threshold
        others = (1 - self.high) * norm.sf(at) + self.high * norm.sf(at - 6)
        return float(norm.sf(at - self.apart)), float(others)


GOOD, BAD, TIED = Scores("good", 3.0), Scores("bad", 0.5), Scores("good, tied", 3.0, step=1.0)
UPSIDE = Scores("the surest are wrong", 3.0, high=0.02)


def main() -> None:
    """Print a table for each kind of wish."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for title, rows in (
        ("A recall, by images of the class", _recalls(rounds)),
        ("A precision, by images of val, a third of them of the class", _precisions(rounds)),
        ("A share of right answers, by images of val, of which 85% are answered rightly", _rights(rounds)),
        ("A coverage, by images of val", _coverages(rounds)),
    ):
        print(f"\n### {title}\n")
        print("| images | wish | scores | promised | missed | missed, as val has it | true share, if promised |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for row in rows:
            print(row, flush=True)


def _recalls(rounds: int) -> Iterator[str]:
    for there in (5, 14, 30, 60, 100, 300, 1000):
        flags = np.arange(2 * there) < there
        for wish in WISHES:
            for scores in (GOOD, BAD, TIED):
                now = _learn(Threshold(metric="recall", at_least=wish))
                yield _cell(there, wish, scores, rounds, now, _usual_recall, _fixed(flags), _recall)


def _precisions(rounds: int) -> Iterator[str]:
    for images in (30, 100, 300, 1000, 3000):
        for wish in WISHES:
            for scores in (GOOD, BAD, TIED, UPSIDE):
                now = _learn(Threshold(metric="precision", at_least=wish))
                draw = _drawn(images, 1 / 3)
                yield _cell(images, wish, scores, rounds, now, _usual_precision, draw, _precision(1 / 3))


def _rights(rounds: int) -> Iterator[str]:
    for images in (30, 100, 300, 1000, 3000):
        for wish in (0.9, 0.95, 0.99):
            for scores in (Scores("good", 1.5), Scores("tell nothing", 0.0), Scores("good, tied", 1.5, step=0.5)):
                yield _cell(
                    images, wish, scores, rounds, _purest, _usual_precision, _drawn(images, 0.85), _precision(0.85)
                )


def _coverages(rounds: int) -> Iterator[str]:
    for images in (20, 30, 100, 300, 1000):
        for wish in WISHES:
            for scores in (Scores("any", 0.0), Scores("tied", 0.0, step=0.5)):
                every = np.ones(images, dtype=np.bool_)
                yield _cell(images, wish, scores, rounds, _set, _usual_recall, _fixed(every), _recall)


Choose = Callable[[Numbers, Flags, float], float | None]


def _cell(
    images: int,
    wish: float,
    scores: Scores,
    rounds: int,
    now: Choose,
    usual: Choose,
    draw: Callable[[np.random.Generator], Flags],
    true: Callable[[Scores, float], float],
) -> str:
    rng, reached, before = np.random.default_rng(0), [], 0
    for _ in range(rounds):
        flags = draw(rng)
        values = scores.draw(rng, flags)
        threshold, plain = now(values, flags, wish), usual(values, flags, wish)
        reached += [] if threshold is None else [true(scores, threshold)]
        before += plain is not None and true(scores, plain) < wish
    missed = sum(share < wish for share in reached)
    average = f"{np.mean(reached):.3f}" if reached else "–"
    return (
        f"| {images:,} | {wish:g} | {scores.name} | {len(reached) / rounds:.0%} | {missed / rounds:.1%} |"
        f" {before / rounds:.0%} | {average} |"
    )


def _learn(wish: Threshold) -> Choose:
    return lambda values, flags, _: choose_threshold(values, flags, wish).value


def _purest(values: Numbers, flags: Flags, share: float) -> float | None:
    return choose_purest(values, flags, share).value


def _set(values: Numbers, flags: Flags, share: float) -> float | None:
    return choose_set(values[flags], share).value


def _usual_recall(values: Numbers, flags: Flags, share: float) -> float | None:
    """The highest value at which val reaches the wish."""
    own = np.sort(values[flags])[::-1]
    return float(own[int(np.ceil(share * len(own) - 1e-9)) - 1])


def _usual_precision(values: Numbers, flags: Flags, share: float) -> float | None:
    """The lowest value at which val reaches the wish, if any does."""
    order = np.argsort(-values, kind="stable")
    last = np.append(values[order][1:] != values[order][:-1], True)
    reaching = np.flatnonzero((np.cumsum(flags[order]) / np.arange(1, len(flags) + 1) >= share) & last)
    return float(values[order][reaching[-1]]) if len(reaching) else None


def _fixed(flags: Flags) -> Callable[[np.random.Generator], Flags]:
    return lambda _: flags


def _drawn(images: int, share: float) -> Callable[[np.random.Generator], Flags]:
    return lambda rng: rng.random(images) < share


def _recall(scores: Scores, threshold: float) -> float:
    return scores.shares(threshold)[0]


def _precision(share: float) -> Callable[[Scores, float], float]:
    def true(scores: Scores, threshold: float) -> float:
        hits, alarms = scores.shares(threshold)
        total = share * hits + (1 - share) * alarms
        return share * hits / total if total else 1.0

    return true


if __name__ == "__main__":
    main()
