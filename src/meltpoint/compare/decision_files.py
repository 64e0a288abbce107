"""The decision as files: compare.json for programs, compare.md for a terminal, compare.html for people."""

from pathlib import Path

from meltpoint.compare.decision import Decision, Row
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
    """The decision as plain values; scores of single classes stay in the metrics.json of each strategy."""
    settings, ruling, head = decision.settings, decision.ruling, decision.results.main_head
    metric: str = settings.metric
    needed, share = ruling.needed, decision.results.test_share  # images that would settle it with a chance of 80%
    pairs = [
        ComparedPair(
            a=pair.a,
            b=pair.b,
            split=pair.split,
            head=head,
            metric=metric,
            at_least=None if pair.least is None else round(pair.least, 6),
            difference=round(pair.difference.value, 6) if pair.difference else None,
            interval=_bounds(pair.difference.interval if pair.difference else None),
            p_value=round(pair.difference.p_value, 8) if pair.difference else None,
            p_holm=None if pair.p_holm is None else round(pair.p_holm, 8),
        )
        for pair in decision.pairs
    ]
    return Comparison(
        winner=decision.winner,
        verdict=decision.verdict,
        sentence=decision.sentence,
        best=decision.best,
        main_head=head,
        metric=metric,
        margin=settings.margin,
        confidence=settings.confidence,
        cost=settings.cost,
        images=decision.images,
        groups=decision.groups,
        spread=decision.spread,
        refusal=ruling.refusal,
        more_images={"test": [needed.low, needed.high], "test_share": share} if needed else None,
        strategies=[_strategy(row, metric) for row in decision.rows],
        trees={name: found for name, found in decision.results.hierarchies.items() if found},
        pairs=pairs,
    )


def _strategy(row: Row, metric: str) -> ComparedStrategy:
    return ComparedStrategy(
        name=row.name,
        encoder=row.backbone,
        side=row.side,
        standing=row.standing,
        metrics={
            split: {
                head: {name: value for name, value in scores.items() if name != "classes"}
                for head, scores in heads.items()
            }
            for split, heads in row.metrics.items()
        },
        intervals={
            split: {head: {metric: _bounds(interval)} for head, interval in heads.items()}
            for split, heads in row.intervals.items()
        },
        cost=row.cost,
        trainings=[round(score, 6) for score in row.trainings],
    )


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval.low, 6), round(interval.high, 6)]
