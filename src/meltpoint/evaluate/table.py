"""The strategies as rows that both the page and the text show: score, interval, cost, and how each stands."""

from dataclasses import dataclass

from meltpoint.evaluate import words
from meltpoint.evaluate.bootstrap import Interval
from meltpoint.evaluate.compare import Decision

STANDINGS = {
    "best": "best on val",
    "as good": "as good",
    "worse": "worse",
    "open": "not settled",
}


@dataclass(frozen=True)
class Strategy:
    """A strategy's deciding metric of the main head, its standing in words, and its number among the colours."""

    name: str
    colour: int  # 0 is the winner's
    wins: bool
    standing: str
    test: float
    val: float
    interval: Interval


def strategies_of(decision: Decision) -> list[Strategy]:
    """The strategies in the order of params.yaml."""
    head, metric = decision.evidence.main_head, decision.settings.metric
    losers = [row.name for row in decision.rows if row.name != decision.winner]
    return [
        Strategy(
            name=row.name,
            colour=1 + losers.index(row.name) if row.name in losers else 0,
            wins=row.name == decision.winner,
            standing=_standing(row.name, decision),
            test=row.metrics["test"][head][metric],
            val=row.metrics["val"][head][metric],
            interval=row.intervals["test"][head],
        )
        for row in decision.rows
    ]


def write_text(decision: Decision) -> str:
    """compare.md: the sentence and two tables whose columns line up in a terminal too."""
    settings, head, metric = decision.settings, decision.evidence.main_head, words.METRICS[decision.settings.metric]
    lines = [f"# {_title(decision)}", "", decision.sentence, "", *_strategies(decision)]
    if decision.pairs:
        against = f"{decision.best} minus each other strategy, {metric} on {head}, in points:"
        lines += ["", against, "", *_pairs(decision)]
    return "\n".join(
        [
            *lines,
            "",
            f"Val chose the best, test ({decision.images['test']:,} images) is the evidence; margin "
            f"{words.gap(settings.margin)}, confidence {settings.confidence:.0%}, "
            f"{settings.resamples:,} paired resamples. The whole report: reports/compare.html",
            "",
        ]
    )


def _title(decision: Decision) -> str:
    return f"Ship {decision.winner}" if decision.verdict == "ship" else "Not enough evidence"


def _strategies(decision: Decision) -> list[str]:
    head, metric = decision.evidence.main_head, words.METRICS[decision.settings.metric]
    shown = ["train_seconds", "latency_p50_ms", "megabytes", "trainable_parameters"]
    titles = ["strategy", f"test {metric} on {head}", "val", *(words.COSTS[name] for name in shown), "standing"]
    rows = [
        [
            f"**{strategy.name}**" if strategy.wins else strategy.name,
            f"{words.percent(strategy.test)} ({100 * strategy.interval.low:.1f} to {100 * strategy.interval.high:.1f})",
            words.percent(strategy.val),
            *(words.cost(name, row.cost[name]) for name in shown),
            strategy.standing,
        ]
        for strategy, row in zip(strategies_of(decision), decision.rows, strict=True)
    ]
    return align([titles, *rows])


def _pairs(decision: Decision) -> list[str]:
    titles = ["against", "on", "difference", f"{decision.settings.confidence:.0%} interval", "p", "p (Holm)"]
    rows = [
        [
            pair.b,
            pair.split,
            words.points(pair.difference.value),
            words.spread(pair.difference.interval),
            words.chance(pair.difference.p_value)[1:].lstrip("="),
            words.chance(pair.p_holm)[1:].lstrip("="),
        ]
        for pair in decision.pairs
    ]
    return align([titles, *rows])


def align(rows: list[list[str]]) -> list[str]:
    """A Markdown table of text cells, the first row its head, padded so that columns line up."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _standing(name: str, decision: Decision) -> str:
    ruling = decision.ruling
    if name in ruling.refuting:
        return "better on test"
    text = STANDINGS[ruling.standings[name]]
    if name != decision.winner:
        return text
    return f"ship, {text}" if ruling.verdict == "ship" else f"for now, {text}"
