"""The decision in one sentence that a manager reads: what to ship, how much better it is, how surely, at what price."""

from collections.abc import Mapping
from dataclasses import dataclass

from meltpoint.evaluate.bootstrap import Difference, Interval
from meltpoint.evaluate.verdict import Ruling
from meltpoint.evaluate.words import METRICS, chance, gap, percent, points, price, spread
from meltpoint.params.judging import Compare


@dataclass(frozen=True)
class Facts:
    """What the sentence is made of; scores and intervals are the main head's on test.

    `differences` are the best's score minus a rival's, `p_holm` their adjusted p-values.
    """

    best: str
    main_head: str
    images: int
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    differences: Mapping[str, Difference]
    p_holm: Mapping[str, float]
    costs: Mapping[str, Mapping[str, float]]
    settings: Compare


def say_decision(ruling: Ruling, facts: Facts) -> str:
    """One sentence."""
    if ruling.refuting:
        return _refuted(ruling, facts)
    if ruling.verdict == "not_enough_evidence":
        return _open(ruling, facts)
    if not facts.differences:
        return _alone(ruling.winner, facts)
    return _as_good(ruling, facts) if ruling.winner != facts.best else _better(ruling, facts)


def _alone(winner: str, facts: Facts) -> str:
    interval = facts.intervals[winner]
    known = f"{facts.settings.confidence:.0%} interval {percent(interval.low)} to {percent(interval.high)}"
    return f"Ship {winner}, the only strategy: {_score(winner, facts)} ({known}, {facts.images:,} test images)."


def _better(ruling: Ruling, facts: Facts) -> str:
    """The best wins: over the rival that comes closest, at the price of one that is cheaper, if any is."""
    closest = min(facts.differences, key=lambda name: facts.differences[name].value)
    costs = {name: facts.costs[name][facts.settings.cost] for name in facts.costs}
    decided = f"Ship {ruling.winner}: {_against(ruling.winner, closest, facts)}"
    if min(costs.values()) < costs[ruling.winner]:
        return f"{decided}; it costs {_price(ruling.winner, closest, facts)}."
    return f"{decided}; it is best on val and nothing is cheaper: it costs {_price(ruling.winner, closest, facts)}."


def _as_good(ruling: Ruling, facts: Facts) -> str:
    """A cheaper one wins: it is shown not to lose as much as the margin."""
    margin = f"a loss of {gap(facts.settings.margin)} or more is ruled out"
    if facts.differences[ruling.winner].interval.high <= 0:
        margin = "it is no worse"
    return (
        f"Ship {ruling.winner}: {_against(ruling.winner, facts.best, facts, ', the best on val')}; {margin}, and it "
        f"costs {_price(ruling.winner, facts.best, facts)}."
    )


def _open(ruling: Ruling, facts: Facts) -> str:
    costs = facts.costs
    rival = min(ruling.unsettled, key=lambda name: costs[name][facts.settings.cost])
    more = (
        f"about {ruling.more_images:,} more test images (there are {facts.images:,}) would settle which to ship"
        if ruling.more_images
        else "no number of test images would tell them apart, for they are equal and the margin is 0"
    )
    return (
        f"Not enough evidence: {ruling.winner}, the best on val, has {_against(ruling.winner, rival, facts)}, while "
        f"{rival} costs {_price(rival, ruling.winner, facts)}; {more}."
    )


def _refuted(ruling: Ruling, facts: Facts) -> str:
    rival = min(ruling.refuting, key=lambda name: facts.differences[name].value)
    return (
        f"Not enough evidence: val and test disagree. {facts.best} is the best on val, but on test it has "
        f"{_against(facts.best, rival, facts)}; more val images would show which to choose."
    )


def _against(name: str, other: str, facts: Facts, remark: str = "") -> str:
    """88.1% accuracy on defective against 84.3% for frozen (+3.8 points, 95% interval +1.6 to +6.0, p=0.001)."""
    rival, sign = (other, 1) if name == facts.best else (name, -1)
    difference = facts.differences[rival]
    bounds = sorted((sign * difference.interval.low, sign * difference.interval.high))
    known = f"{facts.settings.confidence:.0%} interval {spread(Interval(*bounds))}, {chance(facts.p_holm[rival])}"
    return (
        f"{_score(name, facts)} against {percent(facts.scores[other])} for {other}{remark} "
        f"({points(sign * difference.value)} points, {known})"
    )


def _score(name: str, facts: Facts) -> str:
    return f"{percent(facts.scores[name])} {METRICS[facts.settings.metric]} on {facts.main_head}"


def _price(mine: str, other: str, facts: Facts) -> str:
    return price(facts.costs[mine], facts.costs[other], facts.settings.cost)
