"""How tags are shown: a line, JSON, cells of a table, a panel below the picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.model.card import Card, HeadCard
from meltpoint.predict.fonts import INK, QUIET, Fonts
from meltpoint.predict.panel import LESS, SURE, Row, draw_panel
from meltpoint.predict.records import DIGITS, Answer, Choice
from meltpoint.terminal import plain

COMPARED_DIGITS = 8  # of a probability that is compared with a later one
BETWEEN = " | "  # tags in a cell: no tag holds it


def line(answer: Answer, featured: str) -> str:  # noqa: ARG001 - a head says all of its tags
    """The tags of each head with their probabilities; where there is none, the likeliest one as what is not there."""
    lines = []
    for head, said in answer.tags.items():
        words = [f"{choice.name} {choice.probability:.1%}" for choice in said.tags]
        likeliest = said.top[0]
        lines.append(
            plain(f"{head} {', '.join(words) or f'none (likeliest {likeliest.name} {likeliest.probability:.1%})'}")
        )
    return "; ".join(lines)


def describe(answer: Answer) -> dict[str, Any]:
    """Of each head the tags above their threshold, and the likeliest ones, each with label, name and probability."""
    return {head: asdict(said) for head, said in answer.tags.items()}


def columns(card: Card, top: int) -> dict[str, type]:
    """Per head its tags, their names, how many, and so many likeliest names and their probabilities."""
    found: dict[str, type] = {}
    for head, own in card.heads.items():
        found |= {head: str, f"{head}.names": str, f"{head}.count": int}
        for place in range(1, min(top, len(own.classes)) + 1):
            found |= {f"{head}.top{place}": str, f"{head}.top{place}.probability": float}
    return found


def cells(answer: Answer) -> dict[str, object]:
    """The cells of `columns`."""
    found: dict[str, object] = {}
    for head, said in answer.tags.items():
        found |= {
            head: BETWEEN.join(choice.label for choice in said.tags),
            f"{head}.names": BETWEEN.join(choice.name for choice in said.tags),
            f"{head}.count": len(said.tags),
        }
        for place, choice in enumerate(said.top, 1):
            found[f"{head}.top{place}"] = choice.name
            found[f"{head}.top{place}.probability"] = round(choice.probability, DIGITS)
    return found


def draw(shown: Pixels, answer: Answer, featured: str, fonts: Sequence[Fonts], steady: bool) -> Image.Image:  # noqa: ARG001
    """The picture uint8 (H, W, 3), and below it the tags of each head, then the likeliest of those that are not given.

    `steady`: as many rows as likeliest ones were asked for.
    """
    letters, rows = fonts[1], list[Row]()
    for head, said in answer.tags.items():
        labels = {choice.label for choice in said.tags}
        rest = [choice for choice in said.top if choice.label not in labels]
        own = [_row(choice, letters, given=True) for choice in said.tags]
        own += [_row(choice, letters, given=False) for choice in rest]
        own = own[: len(said.top)] if steady else own[: max(len(said.tags), len(said.top))]
        name = letters.choose(head, head)
        rows += [Row(name if not place else "", *row) for place, row in enumerate(own)]
    return draw_panel(shown, rows, letters)


def masks(answer: Answer) -> dict[str, bytes]:  # noqa: ARG001 - as of other tasks
    """There are none."""
    return {}


def served_columns(heads: Mapping[str, HeadCard]) -> dict[str, str]:
    """Per head its tags as text and, as JSON, their probabilities, those of all tags, and names by language."""
    return {f"{head}{part}": "string" for head in heads for part in ("", ".tags", ".all", ".names")}


def served_cells(card: Card, answer: Answer) -> dict[str, Any]:
    """The cells of `served_columns`, of an answer with all classes."""
    found: dict[str, Any] = {}
    for name, said in answer.tags.items():
        head, shares = card.heads[name], {choice.label: round(choice.probability, DIGITS) for choice in said.top}
        tags = [choice.label for choice in said.tags]
        names = {language: {tag: known[tag] for tag in tags if tag in known} for language, known in head.names.items()}
        found |= {
            name: BETWEEN.join(tags),
            f"{name}.tags": json.dumps({tag: shares[tag] for tag in tags}, ensure_ascii=False),
            f"{name}.all": json.dumps({label: shares[label] for label in head.classes}, ensure_ascii=False),
            f"{name}.names": json.dumps(names, ensure_ascii=False),
        }
    return found


def flatten(answer: Answer) -> dict[str, float | str]:
    """The probability of each tag."""
    return {
        f"{head}.p.{choice.label}": round(choice.probability, COMPARED_DIGITS)
        for head, said in answer.tags.items()
        for choice in said.top
    }


def _row(choice: Choice, letters: Fonts, given: bool) -> tuple[str, str, float, str, str]:
    """Name, remark, share and the two colours of a row."""
    name, share = letters.choose(choice.name, choice.label), choice.probability
    return (name, "", share, SURE, INK) if given else (name, "", share, LESS, QUIET)
