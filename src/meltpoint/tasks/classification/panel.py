"""Pictures with their answers below them, readable on any picture and in any language."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from meltpoint.arrays import Pixels
from meltpoint.predict.fonts import INK, NARROWEST, PAPER, QUIET, TRACK, Fonts
from meltpoint.predict.records import Answer

# Told apart in every kind of colour blindness, and by their words (Okabe and Ito: Color Universal Design, 2008).
SURE, LESS, UNSURE = "#0072b2", "#8c959f", "#d55e00"


@dataclass(frozen=True)
class Row:
    """A line of the panel: the head where it is its first, a name, a remark on it, its share, and their colours."""

    head: str
    name: str
    remark: str
    share: float
    colour: str
    ink: str


def draw_answer(shown: Pixels, answer: Answer, featured: str, letters: Fonts) -> Image.Image:
    """The picture uint8 (H, W, 3), and below it a row for each head; the head `featured` tells its alternatives too."""
    order = [*answer.levels, *(head for head in answer.heads if head not in answer.levels)]
    rows: list[Row] = []
    for head in order:
        said = answer.heads[head]
        colour, remark = (UNSURE, "? unknown") if said.unknown else (SURE, "")
        name = letters.choose(said.name, said.label)
        rows.append(Row(letters.choose(head, head), name, remark, said.probability, colour, INK))
        others = [choice for choice in said.top if choice.label != said.label] if head == featured else []
        rows += [Row("", letters.choose(one.name, one.label), "", one.probability, LESS, QUIET) for one in others]
    height, width = shown.shape[:2]
    line = round(letters.size * 1.5)
    canvas = Image.new("RGB", (max(width, NARROWEST), height + len(rows) * line + letters.size), PAPER)
    canvas.paste(Image.fromarray(shown), ((canvas.width - width) // 2, 0))
    _draw_rows(ImageDraw.Draw(canvas), rows, letters, canvas.width, height + letters.size // 2, line)
    return canvas


def _draw_rows(pen: ImageDraw.ImageDraw, rows: list[Row], letters: Fonts, width: int, top: float, line: int) -> None:
    """Four columns: head, name, bar, share."""
    edge = letters.size * 0.8
    heads = min(max(letters.width(row.head) for row in rows), width * 0.25)
    share = letters.width("100.0%")
    bar = width * 0.2
    left, right = edge + heads + edge, width - edge - share
    for number, row in enumerate(rows):
        base = top + number * line + letters.size
        letters.write(pen, edge, base, letters.shorten(row.head, heads), QUIET)
        name = letters.shorten(row.name, right - bar - edge * 2 - left - letters.width(row.remark))
        letters.write(pen, left, base, name, row.ink)
        letters.write(pen, left + letters.width(name), base, row.remark, row.colour)
        start, high = right - bar - edge, base - letters.size * 0.72
        pen.rectangle((start, high, start + bar, base), fill=TRACK)
        pen.rectangle((start, high, start + bar * row.share, base), fill=row.colour)
        text = f"{row.share:.1%}"
        letters.write(pen, right + share - letters.width(text), base, text, row.ink)
