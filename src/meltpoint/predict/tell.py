"""Answers as text: a line to read, a line of JSON, or a row of a table."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from meltpoint.model.card import Card
from meltpoint.predict.answers import Answer, HeadAnswer
from meltpoint.predict.masks import MaskAnswer, area_column
from meltpoint.progress import plain

DIGITS = 6  # of a probability or a share
LARGEST = 5  # areas of a mask that a line tells


def say_line(answer: Answer, featured: str) -> str:
    """For people: levels of a tree from its root on, then other heads; `featured` tells its alternatives too."""
    if answer.error is not None:
        return f"{answer.source}  cannot be used: {answer.error}"
    path = " > ".join(_say(level, answer.heads[level], level == featured) for level in answer.levels)
    others = [_say(head, said, head == featured) for head, said in answer.heads.items() if head not in answer.levels]
    masks = [_say_areas(head, said) for head, said in answer.masks.items()]
    return "  ".join([str(answer.source), "; ".join([*([path] if path else []), *others, *masks])])


def say_json(answer: Answer) -> str:
    """One line: source, error, levels, and heads with label, name, probability, top, path and unknown.

    A head of pixels has height and width of its mask, and areas with label, name, colour and share.
    """
    masks = {head: _describe(said) for head, said in answer.masks.items()}
    told = asdict(replace(answer, masks={}))
    del told["masks"]
    told["heads"] |= masks
    return json.dumps(_rounded(told), ensure_ascii=False, allow_nan=False)


def table_columns(card: Card, top: int) -> list[str]:
    """source, error, and per head its label, name, probability, unknown, and so many likeliest names and their own.

    Of a head of pixels there is the area of each class.
    """
    columns = ["source", "error"]
    for head, own in card.heads.items():
        if own.colours is not None:
            columns += [area_column(head, name) for name in own.classes]
            continue
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
    for head, mask in answer.masks.items():
        cells |= {area_column(head, area.label): round(area.share, DIGITS) for area in mask.legend}
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
    return plain(f"{head} {doubt}{said.name} {said.probability:.1%}{rest}")


def _say_areas(head: str, said: MaskAnswer) -> str:
    told = [f"{area.name} {area.share:.1%}" for area in said.areas[:LARGEST]]
    more = [f"{len(said.areas) - LARGEST} more"] if len(said.areas) > LARGEST else []
    return plain(f"{head} {', '.join([*told, *more])}")


def _describe(said: MaskAnswer) -> dict[str, Any]:
    height, width = said.mask.shape
    return {"height": height, "width": width, "areas": [asdict(area) for area in said.areas]}


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
