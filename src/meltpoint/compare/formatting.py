"""How numbers and names of the decision are said to people."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from meltpoint.compare.intervals import Interval, optimism
from meltpoint.terminal import plain

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "map": "mAP",
    "f1": "F1",
    "quadratic_kappa": "quadratic kappa",
    "mean_absolute_error": "steps off",
    "top_5_accuracy": "top-5 accuracy",
    "precision": "precision",
    "recall": "recall",
    "coverage": "answered",
    "answered_accuracy": "right if answered",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "expected_calibration_error": "calibration error",
    "miou": "mean IoU",
    "dice": "Dice",
    "pixel_accuracy": "pixel accuracy",
    "boundary_f1": "boundary F",
    "iou": "IoU",
}
COSTS = {
    "train_seconds": "training time",
    "latency_p50_ms": "latency",
    "latency_p95_ms": "latency, slowest 5%",
    "throughput_per_second": "images a second",
    "megabytes": "size on disk",
    "peak_megabytes": "memory to train",
    "predict_megabytes": "memory to predict",
    "trainable_parameters": "trainable parameters",
    "parameters": "parameters",
}
MISSING = "–"


@dataclass(frozen=True)
class Wording:
    """How the report speaks of a task: of what a class has, of the score that ranks classes, of the pictures below."""

    support: str  # what is counted of a class
    ranking: str  # the score of a class by which classes are ranked from hard to easy
    unfolded: int  # classes up to which their table stands open
    listed: bool  # whether compare.md lists the score of each class
    pictures: str  # the heading of the pictures, before "on HEAD"
    about: str  # a sentence below it
    alternative: str  # what a picture holds, for those who do not see it; {strategy} and {head} stand for their names


def percent(share: float | None) -> str:
    """0.881 as 88.1%."""
    return MISSING if share is None else f"{share:.1%}"


def edges(distance: float | None) -> str:
    """3.456 as 3.46: how far off in a tree."""
    return MISSING if distance is None else f"{distance:.2f}"


def points(difference: float) -> str:
    """0.038 as +3.8, in percentage points; what rounds to nothing has no sign."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


LOSSES = ("log_loss",)  # metrics that are no shares, and whose differences are no points


def value_of(metric: str, value: float | None) -> str:
    """A score of a metric: 88.1%, or 0.312 of a loss."""
    return percent(value) if metric not in LOSSES or value is None else f"{value:.3f}"


def gain_of(metric: str, difference: float) -> str:
    """By how much better, without a unit: +3.8 (points), or +0.031 of a loss."""
    return f"{difference:+.3f}" if metric in LOSSES else points(difference)


def gap_of(metric: str, margin: float) -> str:
    """The margin: 1 point, or 0.01 of a loss."""
    one = round(100 * margin, 6) == 1
    return f"{margin:g}" if metric in LOSSES else f"{100 * margin:.3g} point{'' if one else 's'}"


def spread_of(metric: str, interval: Interval) -> str:
    """The interval of a difference: -0.8 to +0.4."""
    return f"{gain_of(metric, interval.low)} to {gain_of(metric, interval.high)}"


def flattery(metric: str, models: int, spread: float) -> str:
    """By how much the best of so many equals scores too well (see `optimism`): 1.2 points, or 0.012 of a loss."""
    high = optimism(models, spread)
    return f"{high:.3f}" if metric in LOSSES else f"{100 * high:.1f} points"


def encoder_at(name: str, side: int) -> str:
    """What a strategy is made of: tf_efficientnet_lite0 at 128 px."""
    return f"{name} at {side} px"


def counted(number: int, what: str) -> str:
    """1 image, 1,234 images."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def chance(p_value: float) -> str:
    """p=0.012, p<0.001."""
    if p_value < 0.001:
        return "p<0.001"
    return f"p={p_value:.3f}" if p_value < 0.0995 else f"p={p_value:.2f}"


def duration(seconds: float) -> str:
    """4.5 s, 12 s, 7.2 min, 3.4 h, 2 days."""
    for size, unit in ((2 * 86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{_short(seconds / min(size, 86400))} {unit}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.1f}".removesuffix(".0") if number >= 1 else f"{number:.2g}"


def amount(number: float) -> str:
    """950, 12.5 k, 3.4 M, 1.2 G."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if number >= size:
            return f"{number / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def cost(name: str, value: float) -> str:
    """A cost in its own unit."""
    match name:
        case "train_seconds":
            return duration(value)
        case "latency_p50_ms" | "latency_p95_ms":
            return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"
        case "megabytes" | "peak_megabytes" | "predict_megabytes":
            return f"{value:,.0f} MB" if value >= 100 else f"{value:.3g} MB"
        case "throughput_per_second":
            return f"{value:.3g}"
        case _:
            return amount(value)


def ratio(mine: float, other: float, what: str) -> str:
    """9x the training time, 11% of the training time, about the same latency."""
    if other <= 0 or mine <= 0:
        return f"{amount(mine)} against {amount(other)} {what}"
    times = mine / other
    if 0.87 <= times <= 1.15:
        return f"{'' if mine == other else 'about '}the same {what}"
    if times < 1:
        return f"{times:.0%} of the {what}" if times >= 0.01 else f"less than 1% of the {what}"
    return f"{_short(times)}x the {what}" if times < 1000 else f"{times:,.0f}x the {what}"


def price(mine: Mapping[str, float], other: Mapping[str, float], decisive: str) -> str:
    """What one strategy costs in terms of another: the cost that decides, and what a user of the model feels.

    Networks of as many parameters differ in latency by the noise of the clock alone.
    """
    felt = "latency_p50_ms" if decisive != "latency_p50_ms" else "train_seconds"
    if felt == "latency_p50_ms" and mine["parameters"] == other["parameters"]:
        return f"{ratio(mine[decisive], other[decisive], COSTS[decisive])} and as much to run"
    return " and ".join(ratio(mine[name], other[name], COSTS[name]) for name in (decisive, felt))


def markdown(text: str) -> str:
    """Text of the data in Markdown, where it is neither a table's border nor a link, an emphasis or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", plain(text))
