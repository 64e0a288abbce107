"""The rule that decides: ship the cheapest strategy that is shown to lose less than the margin against every other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri  # minus it: the upper quantile of the normal distribution, as scipy.stats has it

from meltpoint.compare.intervals import holm, joint_level
from meltpoint.compare.measured import Measured
from meltpoint.params.judging import Compare

Standing = Literal["ship", "leads", "as good", "worse", "open"]
Verdict = Literal["ship", "not_enough_evidence"]

POWER = 0.8  # the chance that the images asked for do settle it
DRAWS = 2000  # of the true scores, from what the images tell of them
LIKELY = (0.25, 0.75)  # quantiles of the images needed that are reported
MOST = 1e8  # images; more are none that anybody could label
NEVER = 1e30


@dataclass(frozen=True)
class Needed:
    """About how many test images more would settle an open verdict with a chance of `POWER`: from `low` to `high`.

    The range is what the uncertainty of today's differences leaves.
    """

    low: int
    high: int


@dataclass(frozen=True)
class Ruling:
    """What was decided, and how each strategy stands to the winner.

    `levels` are the one-sided levels of its comparisons with each other, by their names. `needed` is None where the
    verdict is `ship`, and where the metric itself cannot decide, which `refusal` explains.
    """

    winner: str
    verdict: Verdict
    standings: dict[str, Standing]
    levels: dict[str, float]
    needed: Needed | None
    refusal: str | None


def rule(names: Sequence[str], test: Measured, leader: str, costs: Mapping[str, float], settings: Compare) -> Ruling:
    """Decide among `names`, in the order of `test`, by their `costs`; `leader` is the best on val.

    The cheapest strategy is shipped of which test shows that it loses less than the margin against *each* other. All
    these tests hold together at one-sided 1 - confidence: whichever strategy is truly the best, the chance is at most
    that to ship any that loses the margin to it, for its comparisons with all others share one joint level (Hsu,
    Constrained Simultaneous Confidence Intervals for Multiple Comparisons with the Best, Annals of Statistics 12, 1984;
    a strategy has to pass each of its own tests, so these need no further correction: Berger, Technometrics 24, 1982).
    Where none passes, the evidence is not enough, and the leader is the best on val.
    """
    if len(names) == 1:
        return Ruling(names[0], "ship", {names[0]: "ship"}, {}, None, None)
    levels = [joint_level(test.covariance(j), 1 - settings.confidence) for j in range(len(names))]
    order = sorted(range(len(names)), key=lambda k: (costs[names[k]], names[k] != leader))
    best_first = sorted(
        order, key=lambda j: -test.sign * test.scores[j]
    )  # a test against the best is likeliest to fail
    passing = [
        k
        for k in ([] if test.refusal else order)
        if all(test.shows(k, j, settings.margin, levels[j]) for j in best_first if j != k)
    ]
    winner = names[passing[0]] if passing else leader
    first = names.index(winner)
    found = {k: test.difference(first, k, settings.confidence) for k in range(len(names)) if k != first}
    known = {k: one for k, one in found.items() if one is not None}
    adjusted = holm([one.p_value for one in known.values()])  # shown to be worse, all together at the confidence
    alpha = 1 - settings.confidence
    worse = [k for (k, one), p in zip(known.items(), adjusted, strict=True) if p < alpha and one.value > 0]
    standings: dict[str, Standing] = {
        name: ("ship" if passing else "leads") if name == winner else "as good" if k in passing
        else "worse" if k in worse else "open"
        for k, name in enumerate(names)
    }  # fmt: skip
    needed = None if passing or test.refusal else images_needed(test, levels, settings.margin)
    others = {name: level for name, level in zip(names, levels, strict=True) if name != winner}
    return Ruling(winner, "ship" if passing else "not_enough_evidence", standings, others, needed, test.refusal)


def images_needed(test: Measured, levels: Sequence[float], margin: float) -> Needed | None:
    """How many more test images would let some strategy pass (see `Needed`); None where no number would.

    True scores are drawn around those measured. A test of level a passes with a chance of 80% when the distance of the
    true loss from the margin is z(a) + z(0.2) standard errors. Their squares shrink with the images, but for the part
    of the seeds, which only more trainings lessen.
    """
    rng, count = np.random.default_rng(0), len(levels)
    spread = test.influence - test.influence.mean(axis=1, keepdims=True)
    scores = test.sign * test.scores + rng.multivariate_normal(np.zeros(count), spread @ spread.T, DRAWS)
    settled = np.full(DRAWS, NEVER)
    for which in range(count):
        most = np.zeros(DRAWS)
        for j in (j for j in range(count) if j != which):
            reach = (-ndtri(levels[j]) - ndtri(1 - POWER)) ** 2
            images, seeds = (reach * part for part in test.variances(which, j))
            away = np.maximum(margin - (scores[:, j] - scores[:, which]), 0.0)
            room = away**2 - seeds
            most = np.maximum(most, np.where(room > 0, images / np.maximum(room, 1e-18), NEVER))
        settled = np.minimum(settled, most)
    low, high = (max(0.0, float(at) - 1) * test.images for at in np.quantile(settled, LIKELY))
    return None if high > MOST else Needed(round_up(low), round_up(high))


def round_up(number: float) -> int:
    """To two digits, 1 at least."""
    number = max(1.0, number)
    digit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return int(math.ceil(number / digit - 1e-9) * digit)


def cheapest_best(scores: Mapping[str, float], costs: Mapping[str, float]) -> str:
    """The best score, more being better; of equal ones the cheapest, of equally cheap ones the first."""
    return min(scores, key=lambda name: (-round(scores[name], 12), costs[name]))
