"""Pictures under their masks, and below each what its colours mean: classes with their shares, in columns."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from meltpoint.images.decode import Pixels
from meltpoint.predict.answers import Answer
from meltpoint.predict.draw import INK, NARROWEST, PAPER, QUIET, TRACK
from meltpoint.predict.lettering import Lettering
from meltpoint.predict.masks import Area
from meltpoint.predict.overlay import draw_overlay

SIZES = (28, 20, 14, 11)  # pixels: of letters inside regions; legends take the second
WIDEST = 24  # letters: of a name in a legend


def draw_masks(shown: Pixels, answer: Answer, letters: Sequence[Lettering], steady: bool) -> Image.Image:
    """The picture uint8 (H, W, 3) under the mask of each head, one below the other, each with its legend.

    `letters` are of `SIZES`. `steady`: the legend names all classes in their order, so that drawings of one size stay
    so; else those that occur, the largest first.
    """
    width = shown.shape[1]
    parts: list[Image.Image] = []
    for head, said in answer.masks.items():
        title = head if len(answer.masks) > 1 else ""
        areas = said.legend if steady else said.areas
        parts += [draw_overlay(shown, said, letters), _draw_legend(areas, title, max(width, NARROWEST), letters[1])]
    canvas = Image.new("RGB", (max(width, NARROWEST), sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        canvas.paste(part, ((canvas.width - part.width) // 2, top))
        top += part.height
    return canvas


def _draw_legend(areas: Sequence[Area], title: str, width: int, letters: Lettering) -> Image.Image:
    """Classes in columns as wide as the widest of them, read line by line; the first line is the title, if any."""
    edge, line = letters.size // 2, round(letters.size * 1.5)
    share = letters.width("100.0%")
    names = [letters.shorten(letters.choose(area.name, area.label), letters.size * WIDEST / 2) for area in areas]
    room = max((letters.width(name) for name in names), default=0) + share + line + 2 * edge
    columns = max(1, int((width - edge) // room))
    first = line if title else 0
    canvas = Image.new("RGB", (width, edge * 2 + first + line * -(-len(areas) // columns)), PAPER)
    pen = ImageDraw.Draw(canvas)
    letters.write(pen, edge, edge + letters.size, letters.choose(title, title), QUIET)
    for number, (area, name) in enumerate(zip(areas, names, strict=True)):
        left, base = edge + number % columns * room, edge + first + number // columns * line + letters.size
        swatch = (left, base - letters.size * 0.8, left + letters.size, base + letters.size * 0.2)
        pen.rectangle(swatch, fill=area.colour, outline=TRACK)
        letters.write(pen, left + line, base, name, INK if area.share else QUIET)
        text = f"{area.share:.1%}"
        letters.write(pen, left + room - 2 * edge - letters.width(text), base, text, QUIET)
    return canvas
