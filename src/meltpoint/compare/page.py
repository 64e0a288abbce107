"""compare.html: the decision as one file that needs nothing else, for a screen, a phone, light and dark."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from meltpoint.compare import formatting
from meltpoint.compare.charts import Point, place_differences, place_quality, place_reliability
from meltpoint.compare.decision import Decision
from meltpoint.compare.learning_curve import find_curves, lesser, place_curves
from meltpoint.compare.pictures import embed_picture
from meltpoint.compare.table import (
    STANDINGS,
    Branch,
    branches_of,
    say_ends,
    say_flattered,
    say_images,
    say_trained,
    shown_classes,
)

SHOWN_COSTS = (
    "train_seconds", "latency_p50_ms", "latency_p95_ms", "throughput_per_second", "megabytes", "trainable_parameters",
    "parameters", "peak_megabytes", "predict_megabytes",
)  # fmt: skip
SCORES = (
    "map", "micro_f1", "miou", "dice", "pixel_accuracy", "boundary_f1",
    "accuracy", "balanced_accuracy", "macro_f1", "f1", "precision", "recall", "quadratic_kappa", "mean_absolute_error",
    "top_5_accuracy", "coverage", "answered_accuracy", "roc_auc", "average_precision", "log_loss",
    "expected_calibration_error",
)  # fmt: skip
AREAS = (
    "map",
    "quadratic_kappa",
    "mean_absolute_error",
    "roc_auc",
    "average_precision",
    "log_loss",
)  # no shares of anything
CLASS_SCORES = ("iou", "dice", "recall", "precision", "f1", "average_precision", "roc_auc", "boundary_f1")


def render_page(decision: Decision) -> str:
    """The whole page."""
    metric = decision.settings.metric
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": formatting.percent,
        "value": partial(formatting.value_of, metric),
        "gain": partial(formatting.gain_of, metric),
        "spread": partial(formatting.spread_of, metric),
        "ends": lambda interval: say_ends(metric, interval) if interval else formatting.MISSING,
        "chance": formatting.chance,
        "standing": STANDINGS.__getitem__,
        "score": _score,
        "gap": partial(formatting.gap_of, metric),
        "edges": formatting.edges,
        "minus": lambda text: re.sub(r"(?<!\w)-(?=\d)", "−", str(text)),
    }
    source = files("meltpoint.compare").joinpath("templates", "compare.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(_context(decision))


def _context(decision: Decision) -> dict[str, Any]:
    results, settings, head = decision.results, decision.settings, decision.results.main_head
    rows, branches, metric = decision.rows, branches_of(decision), settings.metric
    losers = [row.name for row in rows if not row.wins]
    curves = find_curves(rows, results.recipes)
    apart = lesser(curves) - {decision.winner}  # they have a picture of their own
    points = {
        row.name: Point(row.test, row.interval, row.cost[settings.cost], row.trainings)
        for row in rows
        if row.name not in apart
    }
    differences = [
        (pair.b, pair.split, pair.difference.value, pair.difference.interval, formatting.chance(pair.p_holm))
        for pair in sorted(decision.pairs, key=lambda pair: pair.split)  # test above val
        if pair.difference is not None and pair.p_holm is not None and pair.b not in apart
    ]
    least = {pair.b: pair.least for pair in decision.pairs if pair.least is not None}
    main_scores = rows[0].metrics["test"][head]["classes"].values()
    class_scores = [name for name in CLASS_SCORES if name in next(iter(main_scores))]
    return {
        "decision": decision,
        "settings": settings,
        "head": head,
        "metric": formatting.METRICS[metric],
        "cost": formatting.COSTS[settings.cost],
        "strategies": rows,
        "encoders": Counter(row.encoder for row in rows),
        "winner": next(row for row in rows if row.wins),
        "colours": {name: number for number, name in enumerate([decision.winner, *losers])},
        "pairs": {(pair.b, pair.split): pair for pair in decision.pairs},
        "quality": place_quality(points, metric, settings.cost, settings.margin),
        "differences": place_differences(differences, least, metric, settings.margin) if differences else None,
        "apart": sorted(apart),
        "curves": place_curves(curves, metric) if curves else None,
        "reliability": place_reliability(results.reliability),
        "confident": any(len(table) for table in results.reliability.values()),
        "costs": [
            (formatting.COSTS[name], [formatting.cost(name, row.cost[name]) for row in rows]) for name in SHOWN_COSTS
        ],
        "heads": {name: _scores_of(decision, name) for name in results.classes},
        "learnt": {name: list(_learnt(decision, name)) for name in results.classes},
        "images": say_images(decision),
        "trained": say_trained(decision),
        "in_points": "" if metric in formatting.LOSSES else "points ",
        "how": _say_how(decision),
        "flattered": say_flattered(decision),
        "branches": branches,
        "tree": _say_tree(branches, decision.winner),
        "labelled": results.hierarchies[decision.winner].get("test", {}),
        "class_scores": [(name, formatting.METRICS[name]) for name in class_scores],
        "wording": results.wording,
        "ranking": formatting.METRICS[results.wording.ranking],
        "classes": results.classes[head],
        "shown_classes": shown_classes(decision),
        "mistakes": {name: embed_picture(path) for name, path in results.mistakes.items()},
    }


def _scores_of(decision: Decision, head: str) -> list[tuple[str, str, str]]:
    """The scores that a head has, their names, and what was wished; F1 of more than two classes is the macro F1."""
    known = decision.rows[0].metrics["test"][head]
    wished = {}
    if known["threshold"] and known["threshold"]["metric"]:
        wished[known["threshold"]["metric"]] = f"at least {known['threshold']['at_least']:.0%}"
    if known["unknown"] and known["unknown"]["right"] is not None:
        wished["answered_accuracy"] = f"at least {known['unknown']['right']:.0%}"
    left_out = set() if len(decision.results.classes[head]) == 2 else {"f1"}
    return [
        (name, formatting.METRICS[name], wished.get(name, "")) for name in SCORES if name in known.keys() - left_out
    ]


def _learnt(decision: Decision, head: str) -> Iterator[str]:
    """What was set on val for a head: its threshold, and below which confidence its answer is unknown."""
    found = {row.name: row.metrics["test"][head] for row in decision.rows}
    names = decision.results.classes[head]
    at = {name: metrics["threshold"] for name, metrics in found.items() if metrics["threshold"]}
    if at:
        wished = next(iter(at.values()))
        values = ", ".join(f"{threshold['at']:.3f} ({name})" for name, threshold in at.items())
        wish = (
            f" for a {wished['metric']} of at least {wished['at_least']:.0%} with 95% confidence"
            if wished["metric"]
            else ""
        )
        yield f"{names[-1]} is the answer if its probability is at least {values}; this threshold was set on val{wish}."
    below = {name: metrics["unknown"] for name, metrics in found.items() if metrics["unknown"]}
    if below:
        right, coverage = (next(iter(below.values())).get(name) for name in ("right", "coverage"))
        values = ", ".join(f"{unknown['below']:.3f} ({name})" for name, unknown in below.items())
        if coverage is not None:
            yield (
                f"In {coverage:.0%} of new images the true class is among those with a probability of at least "
                f"{values}, with 95% confidence; an answer that is not the only one among them is “unknown”."
            )
        else:
            wish = (
                f" so that {right:.0%} of the other answers are right, with 95% confidence" if right is not None else ""
            )
            yield f"Answers with a confidence below {values} are “unknown”; this limit was set on val{wish}."
    for name, metrics in found.items():
        yield from (f"{name}: val has too few images to show {wish}." for wish in metrics.get("not_shown", []))


def _say_tree(branches: list[Branch], winner: str) -> str:
    """What the tree changes for the winner, in a sentence."""
    found = {branch.together: branch for branch in branches if branch.name == winner}
    if not found:
        return ""
    alone, together = found[False].test, found[True].test
    leaf = list(together["levels"])[-1]
    before, after = (way["levels"][leaf]["accuracy"] for way in (alone, together))
    paths = formatting.percent(found[False].consistency[0])
    return (
        f"Alone, the heads of {winner} give a path of the tree for {paths} of the test images. Decided "
        f"together, all answers are paths; accuracy on {leaf} is {formatting.percent(after)}, "
        f"{formatting.points(after - before)} points against each head alone."
    )


def _say_how(decision: Decision) -> str:
    """Which intervals and tests these are."""
    if decision.settings.metric == "accuracy" and all(len(row.trainings) == 1 for row in decision.rows):
        return (
            "Intervals: Wilson's of one accuracy, Tango's of a difference; brackets: joint levels of multiple "
            "comparisons with the best (Hsu), confirmed by the exact test where few images differ; p: exact McNemar, "
            "by Holm."
        )
    return (
        "Intervals: the jackknife over images or groups, Student's t; brackets: joint levels of multiple comparisons "
        "with the best (Hsu); p: the same jackknife, by Holm."
    )


def _score(value: float | None, name: str) -> str:
    """Shares in percent, the others with three decimals."""
    if value is None:
        return formatting.MISSING
    return f"{value:.3f}" if name in AREAS else formatting.percent(value)
