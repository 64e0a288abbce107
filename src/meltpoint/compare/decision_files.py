"""The decision as files: compare.json for programs, compare.md for a terminal, compare.html for people."""

from pathlib import Path
from typing import Any

from meltpoint.compare.decision import Decision, Pair, Row
from meltpoint.compare.intervals import Interval
from meltpoint.compare.page import render_page
from meltpoint.compare.table import write_text
from meltpoint.comparison import ComparedPair, ComparedStrategy, Comparison, write_comparison
from meltpoint.files import whole_file


def write_decision(decision: Decision, reports: Path) -> None:
    """Write `reports`/compare.json, compare.md and compare.html."""
    write_comparison(record_of(decision), reports / "compare.json")
    for name, text in (("compare.md", write_text(decision)), ("compare.html", render_page(decision))):
        with whole_file(reports / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def record_of(decision: Decision) -> Comparison:
    """The decision as plain values."""
    settings = decision.settings
    return Comparison(
        winner=decision.winner,
        verdict=decision.verdict,
        sentence=decision.sentence,
        best=decision.best,
        main_head=decision.results.main_head,
        metric=settings.metric,
        margin=settings.margin,
        confidence=settings.confidence,
        cost=settings.cost,
        images=decision.images,
        groups=decision.groups,
        spread=decision.spread,
        refusal=decision.ruling.refusal,
        more_images=_needed(decision),
        strategies=[_row(row, decision) for row in decision.rows],
        trees={name: found for name, found in decision.results.hierarchies.items() if found},
        pairs=[_pair(pair, decision) for pair in decision.pairs],
    )


def _row(row: Row, decision: Decision) -> ComparedStrategy:
    metrics = {
        split: {head: _without_classes(scores) for head, scores in heads.items()}
        for split, heads in row.metrics.items()
    }
    metric: str = decision.settings.metric
    intervals = {
        split: {head: {metric: _bounds(interval)} for head, interval in heads.items()}
        for split, heads in row.intervals.items()
    }
    return ComparedStrategy(
        name=row.name,
        standing=decision.ruling.standings[row.name],
        metrics=metrics,
        intervals=intervals,
        cost=row.cost,
        trainings=[round(score, 6) for score in row.runs],
    )


def _without_classes(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores of single classes stay in the strategy's metrics.json."""
    return {name: value for name, value in scores.items() if name != "classes"}


def _pair(pair: Pair, decision: Decision) -> ComparedPair:
    return ComparedPair(
        a=pair.a,
        b=pair.b,
        split=pair.split,
        head=decision.results.main_head,
        metric=decision.settings.metric,
        at_least=None if pair.least is None else round(pair.least, 6),
        difference=round(pair.difference.value, 6) if pair.difference else None,
        interval=_bounds(pair.difference.interval if pair.difference else None),
        p_value=round(pair.difference.p_value, 8) if pair.difference else None,
        p_holm=None if pair.p_holm is None else round(pair.p_holm, 8),
    )


def _needed(decision: Decision) -> dict[str, Any] | None:
    """How many test images more would settle it with a chance of 80%, and the share of new images that test gets."""
    needed = decision.ruling.needed
    if needed is None:
        return None
    return {"test": [needed.low, needed.high], "test_share": decision.results.test_share}


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval.low, 6), round(interval.high, 6)]
