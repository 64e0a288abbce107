"""Pictures with their answers below them: readable on any picture, in any language, whole files or none."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image, ImageDraw

from meltpoint.files import whole_file
from meltpoint.images.decode import Pixels
from meltpoint.predict.answers import Answer, Choice, HeadAnswer
from meltpoint.predict.lettering import Lettering
from meltpoint.predict.sources import is_address

# Told apart in every kind of colour blindness, and by their words (Okabe and Ito: Color Universal Design, 2008).
INK, QUIET, PAPER, TRACK = "#1f2328", "#656d76", "#ffffff", "#e6e9ed"
SURE, LESS, UNSURE = "#0072b2", "#8c959f", "#d55e00"
SIDE = 1280  # pixels: of the picture, at most
NARROWEST = 480  # pixels: of the panel, so that names have room beside a small picture
LETTERS = 20  # pixels: the height of letters
LONGEST = 200  # bytes of a file name
WEB = "_web"  # the folder for pictures of addresses


@dataclass(frozen=True)
class Row:
    """A line of the panel: the head where it is its first, a name, a remark on it, its share, and their colours."""

    head: str
    name: str
    remark: str
    share: float
    colour: str
    ink: str


def draw_answer(shown: Pixels, answer: Answer, featured: str, letters: Lettering) -> Image.Image:
    """The picture uint8 (H, W, 3), and below it a row for each head; the head `featured` tells its alternatives too."""
    rows = [row for head, said in _ordered(answer) for row in _rows(head, said, head == featured, letters)]
    height, width = shown.shape[:2]
    line = round(letters.size * 1.5)
    canvas = Image.new("RGB", (max(width, NARROWEST), height + len(rows) * line + letters.size), PAPER)
    canvas.paste(Image.fromarray(shown), ((canvas.width - width) // 2, 0))
    _draw_rows(ImageDraw.Draw(canvas), rows, letters, canvas.width, height + letters.size // 2, line)
    return canvas


def write_drawing(drawing: Image.Image, path: Path) -> None:
    """Write it as JPEG with full colour resolution, which letters need."""
    with whole_file(path) as temporary:
        drawing.save(temporary, "JPEG", quality=92, subsampling=0)


def common_root(given: Sequence[str]) -> Path:
    """The folder that all folders and files given are below of; addresses are elsewhere."""
    paths = [Path(os.path.abspath(path)) for path in given if not is_address(path)]  # noqa: PTH100 - keeps links
    return Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths])) if paths else Path.cwd()


def place_of(source: str, root: Path, into: Path, suffix: str = ".jpg") -> Path:
    """Where the drawing of a source goes: `into` mirrors what is below `root`; each name gets `suffix` added.

    So drawings of two sources never meet: a.png and a.jpg become a.png.jpg and a.jpg.jpg.
    """
    if is_address(source):
        digest, parts = hashlib.sha256(source.encode()).hexdigest()[:12], urlsplit(source)
        return into / WEB / (parts.hostname or "nowhere") / f"{digest}-{_short(Path(parts.path).name)}{suffix}"
    relative = Path(os.path.abspath(source)).relative_to(root)  # noqa: PTH100
    return into / relative.with_name(f"{_short(relative.name)}{suffix}")


def _short(name: str) -> str:
    """A name that is not too long for a file once a suffix is added; one cut short stays different from others."""
    if len(os.fsencode(name)) <= LONGEST:
        return name
    return f"{name[: LONGEST // 4]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"


def _ordered(answer: Answer) -> list[tuple[str, HeadAnswer]]:
    """Levels of the tree from its root on, then the other heads."""
    names = [*answer.levels, *(head for head in answer.heads if head not in answer.levels)]
    return [(name, answer.heads[name]) for name in names]


def _rows(head: str, said: HeadAnswer, featured: bool, letters: Lettering) -> list[Row]:
    colour, remark = (UNSURE, "? unknown") if said.unknown else (SURE, "")
    name = letters.choose(said.name, said.label)
    rows = [Row(letters.choose(head, head), name, remark, said.probability, colour, INK)]
    others: list[Choice] = [choice for choice in said.top if choice.label != said.label] if featured else []
    return rows + [
        Row("", letters.choose(choice.name, choice.label), "", choice.probability, LESS, QUIET) for choice in others
    ]


def _draw_rows(
    pen: ImageDraw.ImageDraw, rows: list[Row], letters: Lettering, width: int, top: float, line: int
) -> None:
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
