"""Pictures under their masks: regions in their colours with names inside, a legend below; and masks as PNG."""

import io
from collections.abc import Sequence
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from meltpoint.arrays import Mask, Pixels
from meltpoint.predict.fonts import INK, NARROWEST, PAPER, QUIET, TRACK, Fonts
from meltpoint.predict.records import Answer, Area, MaskAnswer
from meltpoint.tasks.segmentation.geometry import UNSEEN

WIDEST = 24  # letters: of a name in a legend
OPACITY = 0.5  # of colours over the picture
NAMED = 6  # regions of a class that get its name, the largest
MARGIN = 1.25  # of the room for a name, to the name
NAME_INK, NAME_HALO = "#ffffff", "#000000"  # together readable on any colour
UNSEEN_COLOUR = "#000000"


def draw_masks(shown: Pixels, answer: Answer, letters: Sequence[Fonts], steady: bool) -> Image.Image:
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


def _draw_legend(areas: Sequence[Area], title: str, width: int, letters: Fonts) -> Image.Image:
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


def draw_overlay(shown: Pixels, said: MaskAnswer, letters: Sequence[Fonts]) -> Image.Image:
    """The picture uint8 (h, w, 3) with the mask over it, names in the first of `letters` that fits their region.

    `letters` are of several sizes, the largest first.
    """
    height, width = shown.shape[:2]
    mask = np.asarray(cv2.resize(said.mask, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    blended = cv2.addWeighted(shown, 1 - OPACITY, paint(mask, [area.colour for area in said.legend]), OPACITY, 0)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, cross) > 0
    blended[edges] = blended[edges] // 3  # edges of regions are dark, and what was not seen is as it was
    canvas = Image.fromarray(np.asarray(np.where((mask == UNSEEN)[..., None], shown, blended), dtype=np.uint8))
    pen = ImageDraw.Draw(canvas)
    for number, area in enumerate(said.legend):
        _, labels, stats, _ = cv2.connectedComponentsWithStats((mask == number).astype(np.uint8), connectivity=4)
        largest = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:NAMED] + 1
        for region in largest.tolist():
            left, top, wide, high, _ = stats[region].tolist()
            if high >= letters[-1].size:
                inside = labels[top : top + high, left : left + wide] == region
                _write_inside(pen, inside, (left, top), area, letters)
    return canvas


def find_room(region: NDArray[np.bool_], aspect: float) -> tuple[float, float, float]:
    """The middle (x, y) and the height of the largest box inside a region (H, W), `aspect` times as wide as high.

    The pole of inaccessibility for boxes: stretched so that the box is a square, it is the largest chessboard distance.
    """
    height, width = region.shape
    columns = max(1, round(width / aspect))
    part = np.asarray(cv2.resize(region.astype(np.uint8) * 255, (columns, height), interpolation=cv2.INTER_AREA))
    edged = np.pad((part == 255).astype(np.uint8), 1)  # the picture's edge is an edge
    distance = cv2.distanceTransform(edged, cv2.DIST_C, 3)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    x = (float(column) - 0.5) * width / columns
    return x, float(row) - 0.5, max(0.0, 2 * float(distance.max()) - 1)


def _write_inside(
    pen: ImageDraw.ImageDraw,
    region: NDArray[np.bool_],
    corner: tuple[int, int],
    area: Area,
    letters: Sequence[Fonts],
) -> None:
    """Write the name of a class where a region has most room for it; nowhere if that is too little."""
    name = letters[0].choose(area.name, area.label)
    x, y, room = find_room(region, max(letters[0].width(name), 1) / letters[0].size)
    fitting = next((own for own in letters if own.size * MARGIN <= room), None)
    if fitting is not None:
        left, base = corner[0] + x - fitting.width(name) / 2, corner[1] + y + fitting.size * 0.36
        fitting.write(pen, left, base, name, NAME_INK, NAME_HALO)


def encode_mask(mask: Mask, colours: list[str]) -> bytes:
    """A PNG whose pixels are class ids and whose palette are the classes' colours; 255 is see-through."""
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(_palette(colours).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", transparency=UNSEEN)
    return file.getvalue()


def paint(mask: Mask, colours: list[str]) -> NDArray[np.uint8]:
    """The colours uint8 (H, W, 3) of a mask."""
    return np.asarray(_palette(colours)[mask])


def _palette(colours: list[str]) -> NDArray[np.uint8]:
    """Colours uint8 (256, 3) of all ids."""
    rest = [UNSEEN_COLOUR] * (UNSEEN + 1 - len(colours))
    return np.array([ImageColor.getrgb(colour) for colour in chain(colours, rest)], np.uint8)
