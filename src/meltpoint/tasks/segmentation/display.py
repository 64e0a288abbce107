"""How masks are shown: areas in a line, JSON or cells of a table, PNG files, the picture under its mask."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.model.card import Card, HeadCard
from meltpoint.predict.fonts import Fonts
from meltpoint.predict.records import DIGITS, Answer, MaskAnswer
from meltpoint.tables import area_column
from meltpoint.tasks.segmentation.mask_drawing import draw_masks, encode_mask
from meltpoint.terminal import plain

LARGEST = 5  # areas of a mask that a line names


def line(answer: Answer, featured: str) -> str:  # noqa: ARG001 - masks have no alternatives
    """The largest areas of each head."""
    lines = []
    for head, said in answer.masks.items():
        areas = [f"{area.name} {area.share:.1%}" for area in said.areas[:LARGEST]]
        more = [f"{len(said.areas) - LARGEST} more"] if len(said.areas) > LARGEST else []
        lines.append(plain(f"{head} {', '.join([*areas, *more])}"))
    return "; ".join(lines)


def describe(answer: Answer) -> dict[str, Any]:
    """Of each head height and width of its mask, and areas with label, name, colour and share."""
    found = {}
    for head, said in answer.masks.items():
        height, width = said.mask.shape
        found[head] = {"height": height, "width": width, "areas": [asdict(area) for area in said.areas]}
    return found


def columns(card: Card, top: int) -> dict[str, type]:  # noqa: ARG001
    """Per head the area of each class."""
    return {area_column(head, name): float for head, own in card.heads.items() for name in own.classes}


def cells(answer: Answer) -> dict[str, object]:
    """The cells of `columns`."""
    return {
        area_column(head, area.label): round(area.share, DIGITS)
        for head, said in answer.masks.items()
        for area in said.legend
    }


def draw(shown: Pixels, answer: Answer, featured: str, fonts: Sequence[Fonts], steady: bool) -> Image.Image:  # noqa: ARG001
    """The picture uint8 (H, W, 3) under the mask of each head, with a legend."""
    return draw_masks(shown, answer, fonts, steady)


def masks(answer: Answer) -> dict[str, bytes]:
    """A PNG for each head, whose pixels are class ids in the picture's own size."""
    return {head: _encode(said) for head, said in answer.masks.items()}


def served_columns(heads: Mapping[str, HeadCard]) -> dict[str, str]:
    """Per head its mask as the base64 text of a PNG, the share of each class and the classes' names as JSON."""
    return {f"{head}.{part}": "string" for head in heads for part in ("mask", "areas", "names")}


def served_cells(card: Card, answer: Answer) -> dict[str, Any]:
    """The cells of `served_columns`."""
    found: dict[str, Any] = {}
    for name, said in answer.masks.items():
        shares = {area.label: round(area.share, DIGITS) for area in said.legend}
        found |= {
            f"{name}.mask": base64.b64encode(_encode(said)).decode(),
            f"{name}.areas": json.dumps(shares, ensure_ascii=False),
            f"{name}.names": json.dumps(card.heads[name].names, ensure_ascii=False),
        }
    return found


def flatten(answer: Answer) -> dict[str, float | str]:
    """The mask of each head as the base64 text of a PNG."""
    return {f"{head}.mask": base64.b64encode(_encode(said)).decode() for head, said in answer.masks.items()}


def _encode(said: MaskAnswer) -> bytes:
    return encode_mask(said.mask, [area.colour for area in said.legend])
