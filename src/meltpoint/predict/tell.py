"""Answers as text: a line to read, a line of JSON, or a row of a table."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from meltpoint.model.card import Card
from meltpoint.predict.answers import Answer, HeadAnswer

DIGITS = 6  # of a probability


def say_line(answer: Answer, featured: str) -> str:
    """For people: levels of a tree from its root on, then other heads; `featured` tells its alternatives too."""
    if answer.error is not None:
        return f"{answer.source}  cannot be used: {answer.error}"
    path = " > ".join(_say(level, answer.heads[level], level == featured) for level in answer.levels)
    others = [_say(head, said, head == featured) for head, said in answer.heads.items() if head not in answer.levels]
    return "  ".join([str(answer.source), "; ".join([*([path] if path else []), *others])])


def say_json(answer: Answer) -> str:
    """One line: source, error, levels, and heads with label, name, probability, top, path and unknown."""
    return json.dumps(_rounded(asdict(answer)), ensure_ascii=False, allow_nan=False)


def table_columns(card: Card, top: int) -> list[str]:
    """source, error, and per head its label, name, probability, unknown, and so many likeliest names and their own."""
    columns = ["source", "error"]
    for head, own in card.heads.items():
        columns += [head, f"{head}.name", f"{head}.probability", f"{head}.unknown"]
        for place in range(1, min(top, len(own.classes)) + 1):
            columns += [f"{head}.top{place}", f"{head}.top{place}.probability"]
    return columns


def say_cells(answer: Answer, columns: Sequence[str]) -> str:
    """The row of a table, as CSV; cells of a picture that cannot be used are empty."""
    cells: dict[str, object] = {"source": answer.source, "error": answer.error}
    for head, said in answer.heads.items():
        cells |= {head: said.label, f"{head}.name": said.name, f"{head}.unknown": said.unknown}
        cells[f"{head}.probability"] = round(said.probability, DIGITS)
        for place, choice in enumerate(said.top, 1):
            cells[f"{head}.top{place}"] = choice.name
            cells[f"{head}.top{place}.probability"] = round(choice.probability, DIGITS)
    return write_cells([cells.get(column) for column in columns])


def write_cells(cells: Sequence[object]) -> str:
    """A line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["" if cell is None else cell for cell in cells])
    return line.getvalue()


def _say(head: str, said: HeadAnswer, featured: bool) -> str:
    doubt = "unknown, perhaps " if said.unknown else ""
    others = [f"{choice.name} {choice.probability:.1%}" for choice in said.top if choice.label != said.label]
    rest = f" ({', '.join(others)})" if featured and others else ""
    return f"{head} {doubt}{said.name} {said.probability:.1%}{rest}"


def _rounded(value: Any) -> Any:
    """The same, with probabilities of few digits."""
    match value:
        case float():
            return round(value, DIGITS)
        case dict():
            return {key: _rounded(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner) for inner in value]
        case _:
            return value
