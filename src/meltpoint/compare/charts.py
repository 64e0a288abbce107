"""Where things stand in the pictures of the report: scales, ticks, marks. Coordinates only; the template draws them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meltpoint.compare.formatting import LOSSES, cost, gain_of, spread_of, value_of
from meltpoint.compare.intervals import Interval
from meltpoint.metrics import sign_of

WIDTH = 400.0  # of every picture, in its own units: text of 13 stays readable on a phone
TIMES = [1, 3, 10, 30, 60, 180, 600, 1800, 3600, 3 * 3600, 10 * 3600, 86400, 3 * 86400, 10 * 86400]
STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]


@dataclass(frozen=True)
class Scale:
    """Maps values of [low, high] to positions of [start, end]; `log` by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value, rounded to a tenth."""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)


@dataclass(frozen=True)
class Tick:
    """A line of the grid and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A strategy in the picture of quality against cost: its name stands at `label`, its score on the `side`.

    `low` and `high` are the ends of its interval, both at `y` where it has none; `trainings` stand beside it.
    """

    name: str
    score: str
    x: float
    y: float
    low: float
    high: float
    label_x: float
    label_y: float
    side: str  # of the mark: right, left, or below its interval
    trainings: list[float]  # the y of each, where there are several


@dataclass(frozen=True)
class QualityCost:
    """Quality with intervals over cost; `band` are the positions of the best on test and of the margin from it."""

    height: float
    left: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    band: tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """A difference with its interval, and the text beside its name."""

    split: str
    text: str
    y: float  # the text stands 18 above
    at: float
    low: float
    high: float
    least: float | None  # on test: the gain that is shown jointly with all others


@dataclass(frozen=True)
class Differences:
    """All differences in points, with the zero line and the margin."""

    height: float
    bottom: float
    ticks: list[Tick]
    rivals: dict[str, list[Bar]]  # by the name of the other strategy
    zero: float
    margin: float


@dataclass(frozen=True)
class Dot:
    """A bin of confidence; the radius shows how many images."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Reliability:
    """Accuracy over confidence for each strategy."""

    height: float
    left: float
    bottom: float
    ticks: list[Tick]
    y_ticks: list[Tick]
    lines: dict[str, list[Dot]]


@dataclass(frozen=True)
class Point:
    """A strategy's score on test (main head) with its interval, its cost, and the scores of all its trainings."""

    score: float
    interval: Interval | None
    cost: float
    trainings: list[float]

    @property
    def ends(self) -> Interval:
        """The interval, or the score alone."""
        return self.interval or Interval(self.score, self.score)


def place_quality(points: dict[str, Point], metric: str, kind: str, margin: float) -> QualityCost:
    """Lay out quality over cost (in the unit of `kind`), which runs by decades.

    The band is from the best score on test to the margin from it.
    """
    left, top, bottom, height = 44.0, 34.0, 262.0, 306.0
    floor = {name: max(point.cost, 1e-3) for name, point in points.items()}
    low, high = min(floor.values()), max(floor.values())
    wide = max(1.6, (high / low) ** 0.2)
    x = Scale(low / wide, high * wide, left, WIDTH - 8, log=True)
    sign = sign_of(metric)
    best = max(sign * point.score for point in points.values()) * sign
    bounds = [end for point in points.values() for end in (point.ends.low, point.ends.high, *point.trainings)]
    y = fit([*bounds, best - sign * margin], bottom, top)
    at = {name: x(floor[name]) for name in sorted(points, key=lambda name: floor[name])}
    spans = {name: (at[name], y(points[name].ends.high), y(points[name].ends.low)) for name in at}
    labels = _labels(spans, left, bottom)
    marks = [
        Mark(
            name, value_of(metric, points[name].score), at[name], y(points[name].score), y(points[name].ends.low),
            y(points[name].ends.high), *labels[name],
            side=_side(name, spans, labels, left),
            trainings=[y(score) for score in points[name].trainings] if len(points[name].trainings) > 1 else [],
        )
        for name in at
    ]  # fmt: skip
    ticks: list[Tick] = []  # those whose texts do not touch the one before
    for value in _decades(x.low, x.high, kind == "train_seconds"):
        tick = Tick(x(value), cost(kind, value))
        if not ticks or tick.at - ticks[-1].at >= 3.6 * (len(tick.text) + len(ticks[-1].text)) + 8:
            ticks.append(tick)
    band = y(best), y(min(max(best - sign * margin, y.low), y.high))
    return QualityCost(
        height=height,
        left=left,
        bottom=bottom,
        x_ticks=ticks,
        y_ticks=score_ticks(y, metric),
        marks=marks,
        band=(min(band), max(band)),
    )


def place_differences(
    pairs: Iterable[tuple[str, str, float, Interval, str]], least: dict[str, float], metric: str, margin: float
) -> Differences:
    """Lay out (rival, split, difference, interval, p) rows, those of a rival together, on an axis in points.

    A difference is by how much the winner is better: the line not to be crossed is the margin below 0.
    """
    rows = list(pairs)
    bounds = [end for _, _, _, interval, _ in rows for end in (interval.low, interval.high)] + list(least.values())
    x = fit([*bounds, 0.0, -margin], 10, WIDTH - 10)
    y, rivals = 0.0, dict[str, list[Bar]]()
    for name in dict.fromkeys(row[0] for row in rows):
        bars: list[Bar] = []
        for _, split, value, interval, known in (row for row in rows if row[0] == name):
            y += 46 if bars else 58  # room for the name
            text = f"{gain_of(metric, value)} ({spread_of(metric, interval)}), {known}"
            shown = x(least[name]) if split == "test" and name in least else None
            bars.append(Bar(split, text, y, x(value), x(interval.low), x(interval.high), shown))
        rivals[name] = bars
        y += 18
    share = metric not in LOSSES
    ticks = [
        Tick(x(value), (f"{100 * value:+.{_decimals(x)}f}" if share else f"{value:+.3g}") if value else "0")
        for value in _even(x)
    ]
    return Differences(y + 44, y, ticks, rivals, x(0), x(-margin))


def place_reliability(tables: dict[str, pd.DataFrame]) -> Reliability:
    """Lay out the bins of `curves.reliability` of each strategy."""
    left, top, bottom, height = 44.0, 12.0, 320.0, 362.0
    filled = [table for table in tables.values() if len(table)]
    low = min([0.5, *(float(table[["confidence", "accuracy"]].min().min()) for table in filled)])
    low = math.floor(low * 10 - 0.2) / 10 if low > 0.1 else 0.0
    x, y = Scale(low, 1, left, WIDTH - 12), Scale(low, 1, bottom, top)
    ticks = [value for value in _even(y) if value <= 1]
    lines: dict[str, list[Dot]] = {}
    for name, table in tables.items():
        share = table["images"] / max(1, table["images"].sum())
        rows = zip(table["confidence"], table["accuracy"], share, strict=True)
        lines[name] = [Dot(x(sure), y(right), round(2.5 + 9 * math.sqrt(part), 1)) for sure, right, part in rows]
    return Reliability(
        height=height,
        left=left,
        bottom=bottom,
        ticks=[Tick(x(value), f"{value:.0%}") for value in ticks],
        y_ticks=[Tick(y(value), f"{value:.0%}") for value in ticks],
        lines=lines,
    )


def score_ticks(y: Scale, metric: str) -> list[Tick]:
    """Round scores of a metric; of shares none is above 1."""
    share = metric not in LOSSES
    return [
        Tick(y(value), f"{value:.{_decimals(y)}%}" if share else f"{value:.3g}")
        for value in _even(y)
        if value <= 1 or not share
    ]


def _labels(ends: dict[str, tuple[float, float, float]], left: float, bottom: float) -> dict[str, tuple[float, float]]:
    """Names above intervals (x, high, low), raised until they cover no other; below them where that leaves no room."""
    placed: dict[str, tuple[float, float]] = {}
    for name, (x, high, low) in ends.items():
        half = 4.1 * len(name)
        at = min(max(x, left + half), WIDTH - half)
        ways = [*np.arange(high - 9, 12, -16), *np.arange(low + 18, bottom, 16), *np.arange(high + 7, low + 2, 16)]
        taken = [v for other, (u, v) in placed.items() if abs(at - u) < half + 4.1 * len(other) + 6]
        y = next((y for y in ways if all(abs(y - v) >= 16 for v in taken)), high - 9)
        placed[name] = (round(at, 1), round(float(y), 1))
    return placed


def _side(
    name: str, ends: dict[str, tuple[float, float, float]], labels: dict[str, tuple[float, float]], left: float
) -> str:
    """Where a score stands: right or left of its mark, where no other interval is; below its own, or right, if none."""
    (x, _, low), others = ends[name], [u for other, (u, _, _) in ends.items() if other != name]
    if x < WIDTH - 60 and not any(8 < u - x < 56 for u in others):
        return "right"
    if x - 56 > left and not any(8 < x - u < 56 for u in others):
        return "left"
    named = any(abs(x - u) < 22 + 4.1 * len(other) and abs(low + 14 - v) < 14 for other, (u, v) in labels.items())
    return "right" if named or any(0 < abs(u - x) < 20 for u in others) else "below"


def fit(values: list[float], start: float, end: float) -> Scale:
    """A scale with some air around the values."""
    low, high = min(values), max(values)
    air = max(0.12 * (high - low), 0.004)
    return Scale(low - air, high + air, start, end)


def _step(scale: Scale) -> float:
    return next(step for step in STEPS if (scale.high - scale.low) / step <= 7)


def _decimals(scale: Scale) -> int:
    """How many decimals its round values need, in percent."""
    return 0 if _step(scale) >= 0.01 else 1


def _even(scale: Scale) -> list[float]:
    """At most seven round values of a scale."""
    step = _step(scale)
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    return [round(index * step, 6) for index in range(first, last + 1)]


def _decades(low: float, high: float, times: bool) -> list[float]:
    """Two to six round values of a logarithmic scale; round for a clock if they are `times`."""
    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    choices = [
        [value for power in powers for digit in digits if low <= (value := digit * power) <= high]
        for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10))
    ]
    if times and low >= 0.5:
        choices.insert(0, [float(time) for time in TIMES if low <= time <= high])
    found = next((values for values in choices if len(values) >= 2), [math.sqrt(low * high)])
    return found[:: -(-len(found) // 6)]
