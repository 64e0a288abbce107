"""Contact sheets: pictures in a grid with captions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from meltpoint.arrays import Pixels
from meltpoint.bit_depth import Depths
from meltpoint.duplicate import Duplicate
from meltpoint.files import whole_file
from meltpoint.images.decode import decode
from meltpoint.images.fonts import font_files

INK, QUIET, ACCENT, PAPER, FRAME = "#1f2328", "#656d76", "#bc4c00", "#ffffff", "#d0d7de"
EDGE, GAP, MARGIN = 144, 14, 28  # pixels: side of a picture, space between cells, space around the sheet
TITLE, CAPTION = 22, 12  # heights of letters
PAIRS = 40  # pairs shown at most
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Cell:
    """Pictures side by side and the lines below them; the last line is set in a warm colour if `marked`."""

    images: list[Pixels]
    lines: list[str]
    marked: bool = False


def draw_sheet(
    images: Sequence[Pixels], captions: Sequence[str], columns: int, title: str, path: Path, subtitle: str = ""
) -> None:
    """Draw uint8 (H, W, 3) pictures of any size in a grid, each above its caption (lines parted by a line feed)."""
    cells = [Cell([image], caption.split("\n")) for image, caption in zip(images, captions, strict=True)]
    _draw(cells, columns, title, subtitle, path)


def draw_pairs(
    read: Callable[[str], bytes],
    samples: pd.DataFrame,
    pairs: Sequence[Duplicate],
    parted: Sequence[bool],
    path: Path,
    depths: Depths | None = None,
) -> None:
    """Draw pairs of duplicates side by side, the second turned to match the first, from the surest to the least sure.

    `pairs` are positions in `samples`; `read` gives the bytes of a path in their column `path`; `parted` says of
    each pair whether a plain random split would put one into train and the other elsewhere.
    """
    order = sorted(range(len(pairs)), key=lambda place: (not pairs[place].exact, -pairs[place].correlation))
    shown = [order[place] for place in np.unique(np.linspace(0, len(order) - 1, min(PAIRS, len(order))).astype(int))]
    names, cells = samples["path"].tolist(), []
    for place in shown:
        pair = pairs[place]
        both = names[pair.first], names[pair.second]
        first, second = (decode(read(name), float("inf"), depths, name) for name in both)
        second = np.rot90(second, pair.quarters)
        second = second[:, ::-1] if pair.mirrored else second
        kind = "the same pixels" if pair.exact else f"correlation {pair.correlation:.2f}, {pair.turn}"
        lines = ["  |  ".join(Path(name).name for name in both), kind]
        lines += ["a random split would part them"] if parted[place] else []
        cells.append(Cell([first, np.ascontiguousarray(second)], lines, parted[place]))
    title = f"{len(pairs):,} pairs of duplicates" if pairs else "No duplicates"
    text = f"A plain random split would part {sum(parted):,} of them. The second picture is turned to match the first."
    more = f" Shown are {len(shown)}, from the surest to the least sure … and {len(pairs) - len(shown):,} more."
    _draw(cells, 4, title, (text + more if len(shown) < len(pairs) else text) if pairs else "", path)


def _draw(cells: list[Cell], columns: int, title: str, subtitle: str, path: Path) -> None:
    """Lay the cells out in rows and write the sheet as PNG."""
    pictures = max((len(cell.images) for cell in cells), default=1)
    columns = max(1, min(columns, len(cells)))
    width, line = pictures * EDGE + (pictures - 1) * 4, CAPTION + 5
    height = EDGE + 8 + line * max((len(cell.lines) for cell in cells), default=0)
    rows = -(-len(cells) // columns)
    top = MARGIN + TITLE + 14 + (line + 10 if subtitle else 0)
    title_font, font = _font(title, TITLE), _font(subtitle, CAPTION + 2)
    grid = (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP if rows else 0)
    written = int(max(title_font.getlength(title), font.getlength(subtitle)))
    sheet = Image.new("RGB", (2 * MARGIN + max(grid[0], written), top + grid[1] + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 6), title, INK, title_font)
    pen.text((MARGIN, MARGIN + TITLE + 8), subtitle, QUIET, font)
    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        left, y = MARGIN + column * (width + GAP), top + row * (height + GAP)
        for number, pixels in enumerate(cell.images):
            image = Image.fromarray(np.asarray(pixels)).convert("RGB")
            scale = EDGE / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
            inner = left + number * (EDGE + 4) + (EDGE - image.width) // 2, y + (EDGE - image.height) // 2
            sheet.paste(image, inner)
            pen.rectangle((inner[0] - 1, inner[1] - 1, inner[0] + image.width, inner[1] + image.height), outline=FRAME)
        for number, text in enumerate(cell.lines):
            last = number == len(cell.lines) - 1
            colour = ACCENT if cell.marked and last else QUIET if number else INK
            font = _font(text, CAPTION)
            if font.getlength(text) > width:
                while text and font.getlength(text + "…") > width:
                    text = text[:-1]
                text = text.rstrip() + "…"
            pen.text((left, y + EDGE + 6 + number * line), text, colour, font)
    with whole_file(path) as temporary:
        sheet.save(temporary, "PNG")


def _font(text: str, height: int) -> Font:
    """Pillow's own font, or for letters beyond the Latin ones the first one of a package."""
    if any(ord(letter) > 0x24F and letter not in "…–—’“”" for letter in text):
        for path in font_files():
            return ImageFont.truetype(path, height)
    return ImageFont.load_default(height)
