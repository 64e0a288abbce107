"""compare.html: the decision as one file that needs nothing else, for a screen, a phone, light and dark."""

import base64
import io
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from meltpoint.evaluate import words
from meltpoint.evaluate.charts import place_differences, place_quality, place_reliability
from meltpoint.evaluate.compare import Decision, Row
from meltpoint.evaluate.table import Strategy, strategies_of

WIDEST = 1080  # pixels of an embedded picture
SHOWN_COSTS = (
    "train_seconds", "latency_p50_ms", "latency_p95_ms", "throughput_per_second", "megabytes", "trainable_parameters",
    "parameters", "peak_megabytes", "predict_megabytes",
)  # fmt: skip
SCORES = (
    "accuracy", "balanced_accuracy", "macro_f1", "f1", "roc_auc", "average_precision", "log_loss",
    "expected_calibration_error",
)  # fmt: skip
CLASS_SCORES = ("recall", "precision", "f1", "roc_auc")


def render_page(decision: Decision) -> str:
    """The whole page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": words.percent,
        "points": words.points,
        "spread": words.spread,
        "chance": words.chance,
        "score": _score,
        "gap": words.gap,
        "minus": lambda text: re.sub(r"(?<!\w)-(?=\d)", "−", str(text)),
    }
    source = files("meltpoint.evaluate").joinpath("templates", "compare.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(_context(decision))


def _context(decision: Decision) -> dict[str, Any]:
    evidence, settings, head = decision.evidence, decision.settings, decision.evidence.main_head
    strategies = strategies_of(decision)
    return {
        "decision": decision,
        "settings": settings,
        "head": head,
        "metric": words.METRICS[settings.metric],
        "cost": words.COSTS[settings.cost],
        "strategies": strategies,
        "winner": next(strategy for strategy in strategies if strategy.name == decision.winner),
        "colours": {strategy.name: strategy.colour for strategy in strategies},
        "pairs": {(pair.b, pair.split): pair for pair in decision.pairs},
        "quality": _quality(decision, strategies),
        "differences": _differences(decision),
        "reliability": place_reliability(evidence.reliability),
        "costs": [(words.COSTS[name], [_cost(row, name) for row in decision.rows]) for name in SHOWN_COSTS],
        "classes_of": evidence.classes,
        "scores": [(name, words.METRICS[name]) for name in SCORES],
        "class_scores": [(name, words.METRICS.get(name, name)) for name in CLASS_SCORES],
        "classes": evidence.classes[head],
        "mistakes": {name: _embed(path) for name, path in evidence.mistakes.items()},
    }


def _quality(decision: Decision, strategies: list[Strategy]) -> Any:
    settings, head = decision.settings, decision.evidence.main_head
    return place_quality(
        scores={strategy.name: strategy.test for strategy in strategies},
        intervals={row.name: row.intervals["test"][head] for row in decision.rows},
        costs={row.name: row.cost[settings.cost] for row in decision.rows},
        best=decision.best,
        kind=settings.cost,
        margin=settings.margin,
    )


def _differences(decision: Decision) -> Any:
    found = [
        (pair.b, pair.split, pair.difference.value, pair.difference.interval, words.chance(pair.p_holm))
        for pair in sorted(decision.pairs, key=lambda pair: pair.split)  # test above val
    ]
    return place_differences(found, decision.settings.margin) if found else None


def _cost(row: Row, name: str) -> str:
    return words.cost(name, row.cost[name])


def _score(value: float | None, name: str) -> str:
    """Rates in percent, areas and losses with three decimals."""
    if value is None:
        return words.MISSING
    return f"{value:.3f}" if name in ("roc_auc", "average_precision", "log_loss") else words.percent(value)


def _embed(path: Path) -> Markup:
    """A picture as a data address: JPEG, at most WIDEST wide. Returns what belongs into `src`, with its size."""
    with Image.open(path) as picture:
        image = picture.convert("RGB")
    image.thumbnail((WIDEST, 10 * WIDEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82, optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    return Markup('src="data:image/jpeg;base64,{}" width="{}" height="{}"').format(data, image.width, image.height)
