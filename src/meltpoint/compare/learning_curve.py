"""How many labels are needed: scores of strategies that differ in `shots` alone, over the images they learnt from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meltpoint.compare.charts import WIDTH, Scale, Tick, fit, score_ticks
from meltpoint.compare.decision import Row
from meltpoint.compare.formatting import value_of
from meltpoint.compare.intervals import Interval
from meltpoint.params.recipe import Recipe

BESIDE = 4.0  # how far intervals of two curves stand apart, where they would cover each other


@dataclass(frozen=True)
class Learnt:
    """A strategy: its score on test with its interval, and the labelled images that it learnt from."""

    name: str
    images: int
    score: float
    interval: Interval | None


@dataclass(frozen=True)
class Spot:
    """A strategy in the picture; `low` and `high` are the ends of its interval, both at `y` where it has none."""

    x: float
    y: float
    low: float
    high: float
    text: str  # for those who do not see it


@dataclass(frozen=True)
class LearningCurves:
    """Score over labelled images, which run by decades: a line for each recipe."""

    height: float
    left: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: dict[str, list[Spot]]


def find_curves(rows: Iterable[Row], recipes: Mapping[str, Recipe]) -> dict[str, list[Learnt]]:
    """Strategies that differ in `shots` alone and learnt from different numbers of images, by name.

    A curve is called as the one that learnt from most, without a number at the end. Two strategies make one.
    """
    alike: dict[str, list[Learnt]] = {}
    for row in rows:
        images = row.cost.get("labelled_images")
        if images:  # older reports do not say
            facts = recipes[row.name].model_dump(mode="json", exclude={"strategy": True, "settings": {"shots"}})
            found = alike.setdefault(json.dumps(facts, sort_keys=True), [])
            found.append(Learnt(row.name, int(images), row.test, row.interval))
    curves: dict[str, list[Learnt]] = {}
    for own in alike.values():
        if len({one.images for one in own}) > 1:
            own.sort(key=lambda one: one.images)
            plain = own[-1].name.rstrip("_-0123456789")
            curves[plain if plain and plain not in curves else own[-1].name] = own
    return curves


def lesser(curves: Mapping[str, list[Learnt]]) -> set[str]:
    """The strategies of the curves but the one of each that learnt from most images."""
    return {one.name for own in curves.values() for one in own[:-1]}


def place_curves(curves: dict[str, list[Learnt]], metric: str) -> LearningCurves:
    """Lay out the curves; those of several stand a little beside each other."""
    left, top, bottom, height = 44.0, 14.0, 290.0, 334.0
    found = [one for own in curves.values() for one in own]
    low, high = min(one.images for one in found), max(one.images for one in found)
    x = Scale(low / 1.25, high * 1.25, left, WIDTH - 8, log=True)
    ends = {one.name: one.interval or Interval(one.score, one.score) for one in found}
    y = fit([end for interval in ends.values() for end in (interval.low, interval.high)], bottom, top)
    lines: dict[str, list[Spot]] = {}
    for number, (name, own) in enumerate(curves.items()):
        beside = BESIDE * (number - (len(curves) - 1) / 2)
        lines[name] = [
            Spot(
                round(x(one.images) + beside, 1), y(one.score), y(ends[one.name].low), y(ends[one.name].high),
                f"{one.name} {value_of(metric, one.score)} with {one.images:,}",
            )
            for one in own
        ]  # fmt: skip
    ticks: list[Tick] = []  # the numbers of images themselves, as far as their texts do not touch
    for count in sorted({one.images for one in found}):
        tick = Tick(x(count), f"{count:,}")
        if not ticks or tick.at - ticks[-1].at >= 3.6 * (len(tick.text) + len(ticks[-1].text)) + 8:
            ticks.append(tick)
    return LearningCurves(height, left, bottom, ticks, score_ticks(y, metric), lines)
