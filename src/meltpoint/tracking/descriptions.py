"""Descriptions in Markdown: what a person reads first on the page of a run or of a model version."""

from collections.abc import Mapping, Sequence

from meltpoint.compare.formatting import COSTS, METRICS, cost, encoder_at, markdown, value_of
from meltpoint.comparison import Comparison
from meltpoint.model.card import Card
from meltpoint.terminal import plain

LONGEST = 4900  # characters that every description in MLflow takes
MOST_CHANGES = 8
SHOWN_COSTS = ("train_seconds", "trainable_parameters", "latency_p50_ms", "megabytes")


def name_decision(decision: Comparison) -> str:
    """A decision in a few words."""
    return f"ship {decision.winner}" if decision.ships else f"{decision.winner} for now, not enough evidence"


def describe_decision(decision: Comparison) -> str:
    """The sentence, and what each strategy reached and costs, as Markdown."""
    titles, rows = rows_of(decision)
    bold = [[f"**{row[0]}**", *row[1:]] if row[0] == decision.winner else row for row in rows]
    return f"{markdown(decision.sentence)}\n\n{_table(titles, bold)}"[:LONGEST]


def describe_changes(changes: Sequence[tuple[str, str, str]]) -> str:
    """What is new since the state before, as a paragraph; nothing if nothing is."""
    parts = []
    for name, *values in changes[:MOST_CHANGES]:
        code = markdown(name) if "`" in name or plain(name) != name else f"`{name}`"  # a part may be a class
        old, new = (markdown(text if len(text) <= 40 else f"{text[:37]}...") for text in values)
        parts.append(f"{code} {old} → {new}")
    more = f" and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
    return f"\n\nChanged since the state before: {'; '.join(parts)}{more}." if parts else ""


def rows_of(decision: Comparison) -> tuple[list[str], list[list[str]]]:
    """The titles and cells of a table of the strategies."""
    head, metric = decision.main_head, decision.metric
    costs = {row.name: decision.costs_of(row.name) for row in decision.strategies}
    shown = [name for name in SHOWN_COSTS if all(name in own for own in costs.values())]
    encoders = {
        row.name: encoder_at(row.encoder, row.side) for row in decision.strategies if row.side is not None
    }  # empty where an older version wrote the decision
    known = ["encoder"] if encoders else []
    titles = ["strategy", *known, f"{METRICS[metric]} on {head}, test", "val", *(COSTS[name] for name in shown)]
    rows = [
        [
            row.name,
            *(encoders[row.name] for _ in known),
            *(value_of(metric, row.metrics[split][head][metric]) for split in ("test", "val")),
            *(cost(name, costs[row.name][name]) for name in shown),
        ]
        for row in decision.strategies
    ]
    return titles, rows


def describe_strategy(card: Card, scores: Mapping[str, float], costs: Mapping[str, float]) -> str:
    """What a strategy reached on each head, and what it cost."""
    names = {head: f"{head} (main)" if head == card.main_head else head for head in card.heads}
    rows = [
        [name, *(value_of(card.metric, scores.get(f"{split}/{head}/{card.metric}")) for split in ("test", "val"))]
        for head, name in names.items()
    ]
    paid = [f"{COSTS[name]} {cost(name, costs[f'cost/{name}'])}" for name in SHOWN_COSTS if f"cost/{name}" in costs]
    about = f"**{card.strategy}** of {encoder_at(card.backbone.name, card.images.side)}; {', '.join(paid)}"
    licence = markdown(card.licence)
    return f"{about}; weights under {licence}.\n\n{_table([METRICS[card.metric], 'test', 'val'], rows)}"[:LONGEST]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
