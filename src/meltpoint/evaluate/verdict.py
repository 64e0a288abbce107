"""The rule that decides: ship the cheapest strategy that is shown to lose less than the margin against the best."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scipy.stats import norm

from meltpoint.evaluate.bootstrap import Difference
from meltpoint.params.judging import Compare

Standing = Literal["best", "as good", "worse", "open"]
Verdict = Literal["ship", "not_enough_evidence"]


@dataclass(frozen=True)
class Rival:
    """A strategy against the best on test: `difference` is the best's score minus its own; `p_holm` of all rivals."""

    name: str
    cost: float
    difference: Difference
    p_holm: float


@dataclass(frozen=True)
class Ruling:
    """What was decided, and how each strategy stands to the best on val.

    `refuting` are strategies that test shows to be better than the best, by more than the margin, and that do not win.
    `more_images` would settle an open verdict, None where the verdict is not open or no number would.
    """

    winner: str
    verdict: Verdict
    standings: dict[str, Standing]
    unsettled: list[str]
    refuting: list[str]
    more_images: int | None


def rule(best: str, cost: float, rivals: list[Rival], images: int, settings: Compare) -> Ruling:
    """Decide. `best` has the best main metric on val, `cost` is its cost, `images` are the labelled ones of test.

    A rival is "as good" when its loss is, with the asked confidence, smaller than the margin (or nil on every
    resample); it is "worse" when its loss is above 0 with that confidence. The cheapest of the best and those as good
    wins. That settles it, unless the best wins over a cheaper rival that stands open, or test refutes the best.
    """
    standings: dict[str, Standing] = {best: "best", **{rival.name: _standing(rival, settings) for rival in rivals}}
    costs = {best: cost, **{rival.name: rival.cost for rival in rivals}}
    winner = min((name for name in costs if standings[name] in ("best", "as good")), key=lambda name: costs[name])
    cheaper = [rival for rival in rivals if rival.cost < cost and standings[rival.name] == "open"]
    unsettled = cheaper if winner == best else []
    refuting = [
        rival.name for rival in rivals if rival.name != winner and rival.difference.interval.high < -settings.margin
    ]
    needed = [images_to_settle(rival.difference, images, len(rivals), settings) for rival in unsettled]
    return Ruling(
        winner=winner,
        verdict="not_enough_evidence" if unsettled or refuting else "ship",
        standings=standings,
        unsettled=[rival.name for rival in unsettled],
        refuting=refuting,
        more_images=max((number for number in needed if number is not None), default=None),
    )


def images_to_settle(difference: Difference, images: int, rivals: int, settings: Compare) -> int | None:
    """About how many more test images would settle an open difference, if it stays what it is; None: no number would.

    The standard error shrinks with the root of the images. Either the loss becomes significant (at the strictest level
    Holm may ask of `rivals` comparisons), or the interval falls below the margin: whichever comes first. Rounded up to
    two digits.
    """
    alpha, error = 1 - settings.confidence, max(difference.standard_error, 1e-12)
    # an exact test may ask for more than the interval does: the distance from 0 is what its p-value says
    from_zero = min(difference.value / error, float(norm.isf(difference.p_value / 2)))
    from_margin = (settings.margin - difference.value) / error
    strict, plain = float(norm.isf(alpha / 2 / rivals)), float(norm.isf(alpha / 2))
    ways = [(needed / seen) ** 2 for needed, seen in ((strict, from_zero), (plain, from_margin)) if seen > 1e-9]
    if not ways:
        return None
    more = max(images * (min(ways) - 1), images / 20, 1)
    digit = 10 ** max(0, math.floor(math.log10(more)) - 1)
    return int(math.ceil(more / digit) * digit)


def cheapest_best(scores: Mapping[str, float], costs: Mapping[str, float]) -> str:
    """The best score; of equal ones the cheapest, of equally cheap ones the first."""
    return min(scores, key=lambda name: (-round(scores[name], 12), costs[name]))


def _standing(rival: Rival, settings: Compare) -> Standing:
    interval = rival.difference.interval
    if interval.high < settings.margin or interval.low == interval.high == 0:
        return "as good"
    return "worse" if interval.low > 0 and rival.p_holm < 1 - settings.confidence else "open"
