"""Letters of every script on a picture: each is drawn by the first font that has it, and what none has is known."""

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from PIL import ImageDraw, ImageFont

from meltpoint.errors import UserError
from meltpoint.images.fonts import font_files

FACES = {
    "ja": 0,
    "ko": 1,
    "zh": 2,
    "zh-hans": 2,
    "zh-hant": 3,
    "zh-tw": 3,
    "zh-hk": 4,
}  # in the .ttc: forms of Han differ
NOWHERE = "\U0010ffff"  # is no letter, so that a font draws its box for missing ones

SIZES = (28, 20, 14, 11)  # pixels: of letters inside regions; panels and legends take the second
INK, QUIET, PAPER, TRACK = "#1f2328", "#656d76", "#ffffff", "#e6e9ed"  # of panels and legends
NARROWEST = 480  # pixels: of a panel, so that names have room beside a small picture

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class FontError(UserError, ValueError):
    """A file is no font."""


@dataclass(frozen=True, eq=False)
class Fonts:
    """Fonts of one `size`, in pixels, in the order in which they are asked for a letter.

    `plain` are the same ones, drawing letter by letter: those with a text layout make up for a missing letter by marks
    that end up anywhere.
    """

    fonts: tuple[Font, ...]
    plain: tuple[Font, ...]
    size: int
    known: dict[str, int | None] = field(default_factory=dict)  # letter -> the font that has it

    def has(self, text: str) -> bool:
        """Whether every letter can be drawn."""
        return all(self._font_of(letter) is not None for letter in unicodedata.normalize("NFC", text))

    def choose(self, name: str, label: str) -> str:
        """The name, or what stands for it where letters are missing: the label, or at worst its code points."""
        candidates = (name, label, label.encode("ascii", "backslashreplace").decode())
        return next((text for text in candidates if self.has(text)), candidates[-1])

    def width(self, text: str) -> float:
        """Of a line, in pixels."""
        return sum(font.getlength(part) for font, part in self._parts(text))

    def shorten(self, text: str, width: float) -> str:
        """The text, or as much of its start as fits into `width` pixels, with an ellipsis."""
        if self.width(text) <= width:
            return text
        while text and self.width(text + "…") > width:
            text = text[:-1]
        return text.rstrip() + "…"

    def write(
        self, pen: ImageDraw.ImageDraw, left: float, base: float, text: str, colour: str, halo: str | None = None
    ) -> None:
        """Draw a line from `left` on, its letters standing on `base`; `halo` is the colour of a rim around them."""
        rim = max(1, self.size // 10) if halo else 0
        for font, part in self._parts(text):
            pen.text((left, base), part, colour, font, anchor="ls", stroke_width=rim, stroke_fill=halo)
            left += font.getlength(part)

    def _parts(self, text: str) -> list[tuple[Font, str]]:
        """The text in parts, each of one font."""
        parts: list[tuple[Font, str]] = []
        for letter in unicodedata.normalize("NFC", text):
            font = self.fonts[self._font_of(letter) or 0]
            if parts and (parts[-1][0] is font or unicodedata.combining(letter)):
                parts[-1] = (font, parts[-1][1] + letter)
            else:
                parts.append((font, letter))
        return parts

    def _font_of(self, letter: str) -> int | None:
        if letter not in self.known:
            having = (number for number, font in enumerate(self.plain) if has_letter(font, letter))
            self.known[letter] = 0 if letter.isspace() else next(having, None)
        return self.known[letter]


def open_fonts(size: int, file: Path | None, language: str | None) -> Fonts:
    """The letters for a language, `size` pixels high: those of the font `file`, and of the packages.

    Raises:
        FontError: `file` is no font.
    """
    asked = (language or "zh").lower().replace("_", "-")
    han = FACES.get(asked, FACES.get(asked.split("-")[0], FACES["zh"]))  # of simplified Chinese for unknown languages
    found = [(file, 0)] if file else []
    found += [(path, han if path.suffix == ".ttc" else 0) for path in font_files()]
    fonts, plain = (
        tuple(_open(path, size, face, engine) for path, face in found) or (ImageFont.load_default(size),)
        for engine in (None, ImageFont.Layout.BASIC)
    )
    return Fonts(fonts, plain, size)


def has_letter(font: Font, letter: str) -> bool:
    """Whether the font draws the letter otherwise than one that does not exist."""
    drawn, missing = (font.getmask(text) for text in (letter, NOWHERE))
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def _open(file: Path, size: int, face: int, engine: ImageFont.Layout | None) -> Font:
    try:
        return ImageFont.truetype(file, size, face, layout_engine=engine)
    except OSError as error:
        raise FontError(
            f"{file} cannot be used as a font: {error}. Give a .ttf, .otf or .ttc that has the letters of your names."
        ) from None
