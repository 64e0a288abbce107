"""How classes of pictures are shown: a line, JSON, cells of a table, a panel below the picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.model.card import Card, HeadCard
from meltpoint.predict.fonts import INK, QUIET, Fonts
from meltpoint.predict.panel import LESS, SURE, UNSURE, Row, draw_panel
from meltpoint.predict.records import DIGITS, Answer
from meltpoint.terminal import plain

COMPARED_DIGITS = 8  # of a probability that is compared with a later one


def line(answer: Answer, featured: str) -> str:
    """Levels of a tree from its root on, then other heads; `featured` with its alternatives."""
    texts: dict[str, str] = {}
    for head, said in answer.heads.items():
        doubt = "unknown, perhaps " if said.unknown else ""
        others = [f"{choice.name} {choice.probability:.1%}" for choice in said.top if choice.label != said.label]
        rest = f" ({', '.join(others)})" if head == featured and others else ""
        texts[head] = plain(f"{head} {doubt}{said.name} {said.probability:.1%}{rest}")
    path = " > ".join(texts.pop(level) for level in answer.levels)
    return "; ".join([*([path] if path else []), *texts.values()])


def describe(answer: Answer) -> dict[str, Any]:
    """Of each head label, name, probability, top, path and unknown."""
    return {head: asdict(said) for head, said in answer.heads.items()}


def columns(card: Card, top: int) -> dict[str, type]:
    """Per head its label, name, probability, unknown, and so many likeliest names and their own probabilities."""
    found: dict[str, type] = {}
    for head, own in card.heads.items():
        found |= {head: str, f"{head}.name": str, f"{head}.probability": float, f"{head}.unknown": bool}
        for place in range(1, min(top, len(own.classes)) + 1):
            found |= {f"{head}.top{place}": str, f"{head}.top{place}.probability": float}
    return found


def cells(answer: Answer) -> dict[str, object]:
    """The cells of `columns`."""
    found: dict[str, object] = {}
    for head, said in answer.heads.items():
        found |= {head: said.label, f"{head}.name": said.name, f"{head}.unknown": said.unknown}
        found[f"{head}.probability"] = round(said.probability, DIGITS)
        for place, choice in enumerate(said.top, 1):
            found[f"{head}.top{place}"] = choice.name
            found[f"{head}.top{place}.probability"] = round(choice.probability, DIGITS)
    return found


def draw(shown: Pixels, answer: Answer, featured: str, fonts: Sequence[Fonts], steady: bool) -> Image.Image:  # noqa: ARG001 - each panel has one size
    """The picture uint8 (H, W, 3), and below it a row for each head; `featured` with its alternatives."""
    letters = fonts[1]
    order = [*answer.levels, *(head for head in answer.heads if head not in answer.levels)]
    rows: list[Row] = []
    for head in order:
        said = answer.heads[head]
        colour, remark = (UNSURE, "? unknown") if said.unknown else (SURE, "")
        name = letters.choose(said.name, said.label)
        rows.append(Row(letters.choose(head, head), name, remark, said.probability, colour, INK))
        others = [choice for choice in said.top if choice.label != said.label] if head == featured else []
        rows += [Row("", letters.choose(one.name, one.label), "", one.probability, LESS, QUIET) for one in others]
    return draw_panel(shown, rows, letters)


def masks(answer: Answer) -> dict[str, bytes]:  # noqa: ARG001 - as of other tasks
    """There are none."""
    return {}


def served_columns(heads: Mapping[str, HeadCard]) -> dict[str, str]:
    """Per head its label, probability, all probabilities and names as JSON, and whether it is unknown."""
    found: dict[str, str] = {}
    for head in heads:
        found |= {head: "string", f"{head}.probability": "double", f"{head}.all": "string"}
        found |= {f"{head}.unknown": "boolean", f"{head}.names": "string"}
    return found


def served_cells(card: Card, answer: Answer) -> dict[str, Any]:
    """The cells of `served_columns`, of an answer with all classes."""
    found: dict[str, Any] = {}
    for name, own in answer.heads.items():
        head, shares = card.heads[name], {choice.label: round(choice.probability, DIGITS) for choice in own.top}
        names = {language: known[own.label] for language, known in head.names.items() if own.label in known}
        found |= {
            name: own.label,
            f"{name}.probability": round(own.probability, DIGITS),
            f"{name}.all": json.dumps({label: shares[label] for label in head.classes}, ensure_ascii=False),
            f"{name}.unknown": own.unknown,
            f"{name}.names": json.dumps(names, ensure_ascii=False),
        }
    return found


def flatten(answer: Answer) -> dict[str, float | str]:
    """The probability of each class."""
    return {
        f"{head}.p.{choice.label}": round(choice.probability, COMPARED_DIGITS)
        for head, own in answer.heads.items()
        for choice in own.top
    }
