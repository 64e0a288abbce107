"""The decision in one sentence that a manager reads: what to ship, how surely, at what price, or what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meltpoint.compare.formatting import LOSSES, METRICS, counted, gain_of, gap_of, price, spread_of, value_of
from meltpoint.compare.intervals import Interval
from meltpoint.compare.measured import Difference
from meltpoint.compare.verdict import Needed, Ruling, round_up
from meltpoint.params.judging import Compare


@dataclass(frozen=True)
class Facts:
    """What the sentence is made of; scores are the main head's.

    `interval` is that of the winner on test, `differences` are what the winner is better than each other there (empty
    where the metric cannot decide), `test_share` the share of new images that falls to test, None if it is not known.
    """

    main_head: str
    val_images: int
    test_images: int
    test_groups: int
    test_share: float | None
    val: Mapping[str, float]
    test: Mapping[str, float]
    interval: Interval | None
    differences: Mapping[str, Difference]
    trainings: Sequence[int]
    costs: Mapping[str, Mapping[str, float]]
    settings: Compare


def say_decision(ruling: Ruling, facts: Facts) -> str:
    """One sentence: what was shown against the closest other and against all, or what leads and would settle it."""
    winner, settings, interval = ruling.winner, facts.settings, facts.interval
    if len(facts.test) == 1:
        known = ""
        if interval is not None:
            ends = f"{value_of(settings.metric, interval.low)} to {value_of(settings.metric, interval.high)}"
            known = f"{settings.confidence:.0%} interval {ends}, "
        return f"Ship {winner}, the only strategy: {_score(winner, facts)} ({known}{_images(facts)})."
    own = value_of(settings.metric, facts.val[winner])
    leads = f"{winner} leads so far: it has the best score on val ({own} on {counted(facts.val_images, 'image')})"
    if ruling.refusal is not None:
        return f"Not enough evidence: {ruling.refusal}; {leads}."
    closest = min(facts.differences, key=lambda name: facts.differences[name].value)
    found, unit = facts.differences[closest], "better" if settings.metric in LOSSES else "points"
    against = (
        f"{_score(winner, facts)} against {value_of(settings.metric, facts.test[closest])} for {closest} "
        f"({gain_of(settings.metric, found.value)} {unit}, {settings.confidence:.0%} interval "
        f"{spread_of(settings.metric, found.interval)}, {_images(facts)})"
    )
    if ruling.verdict != "ship":
        return f"Not enough evidence: {leads}, and on test it has {against}; {_settle(ruling.needed, facts)}."
    others = "" if len(facts.test) == 2 else f" against any of the {len(facts.test) - 1} others"
    return (
        f"Ship {winner}: {against}; a loss of {gap_of(settings.metric, settings.margin)} or more{others} is ruled out, "
        f"and it costs {price(facts.costs[winner], facts.costs[closest], settings.cost)}."
    )


def _settle(needed: Needed | None, facts: Facts) -> str:
    if needed is None:
        if max(facts.trainings) > 1:
            return "no number of images would settle it, because the trainings differ too much: more repeats may"
        return "more images than anybody could label would be needed to settle it"
    low, high, what = needed.low, needed.high, "test images"
    if facts.test_share:
        low, high = (round_up(number / facts.test_share) for number in (low, high))
        what = f"labelled images, of which test gets {facts.test_share:.0%},"
    several = f"{low:,} to {high:,}" if low < high else f"{high:,}"
    return f"about {several} more {what} would settle it with a chance of 80%"


def _score(name: str, facts: Facts) -> str:
    metric = facts.settings.metric
    return f"{value_of(metric, facts.test[name])} {METRICS[metric]} on {facts.main_head}"


def _images(facts: Facts) -> str:
    if facts.test_groups == facts.test_images:
        return counted(facts.test_images, "test image")
    return f"{counted(facts.test_images, 'test image')} in {counted(facts.test_groups, 'group')}"
