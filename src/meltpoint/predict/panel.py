"""A panel of names, bars and shares below a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from meltpoint.arrays import Pixels
from meltpoint.predict.fonts import NARROWEST, PAPER, QUIET, TRACK, Fonts

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


def draw_panel(shown: Pixels, rows: Sequence[Row], letters: Fonts) -> Image.Image:
    """The picture uint8 (H, W, 3) above the rows."""
    height, width = shown.shape[:2]
    line = round(letters.size * 1.5)
    canvas = Image.new("RGB", (max(width, NARROWEST), height + len(rows) * line + letters.size), PAPER)
    canvas.paste(Image.fromarray(shown), ((canvas.width - width) // 2, 0))
    pen, top, edge = ImageDraw.Draw(canvas), height + letters.size // 2, letters.size * 0.8
    heads = min(max(letters.width(row.head) for row in rows), canvas.width * 0.25)
    share, bar = letters.width("100.0%"), canvas.width * 0.2
    left, right = edge + heads + edge, canvas.width - edge - share
    for number, row in enumerate(rows):  # four columns: head, name, bar, share
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
    return canvas
