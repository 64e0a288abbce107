"""Every letter is drawn, or known not to be: no font's box for missing letters ever ends up on a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from meltpoint.images import fonts
from meltpoint.predict.fonts import NOWHERE, FontError, Fonts, has_letter, open_fonts

CHINESE = "樹式半蓮花扭轉攤屍树势龟"  # traditional and simplified


def drawn(letters: Fonts, text: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    image = Image.new("L", (80, 40), 255)
    letters.write(ImageDraw.Draw(image), 4, 30, text, "black")
    return np.asarray(image)


def test_chinese_is_drawn_and_not_as_boxes() -> None:
    letters = open_fonts(24, None, "zh")
    assert letters.has(CHINESE)
    box = drawn(letters, NOWHERE)
    pictures = [drawn(letters, letter) for letter in CHINESE]
    assert all((picture < 128).sum() > 20 and (picture != box).any() for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(CHINESE)


@pytest.mark.parametrize("text", ["é ñ ß", "Łódź Żółw", "Поза", "Ελλάδα", "ヨガ", "요가", "…—’", ""])
def test_other_scripts_are_drawn_too(text: str) -> None:
    assert open_fonts(24, None, None).has(text)


def test_a_letter_that_is_nowhere_is_known() -> None:
    letters = open_fonts(24, None, "zh")
    assert not letters.has("a" + NOWHERE)
    assert letters.choose("a" + NOWHERE, "label") == "label"
    assert letters.choose("a" + NOWHERE, "b" + NOWHERE) == r"b\U0010ffff"
    assert letters.choose("樹式", "label") == "樹式"


def test_without_the_fonts_names_go_by_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "FONTS", (("no_such_package", "font.ttf"),))
    letters = open_fonts(24, None, "zh")
    assert letters.choose("樹式", "tree") == "tree"
    assert drawn(letters, "tree").min() < 128


def test_a_font_of_ones_own_comes_first(tmp_path: Path) -> None:
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf"
    assert (drawn(open_fonts(24, file, None), "ag") != drawn(open_fonts(24, None, None), "ag")).any()
    assert open_fonts(24, file, None).has("樹")
    (tmp_path / "none.ttf").write_bytes(b"text")
    for path in (tmp_path / "none.ttf", tmp_path / "missing.ttf"):
        with pytest.raises(FontError, match="cannot be used as a font"):
            open_fonts(24, path, None)


def test_han_is_written_as_the_language_does() -> None:
    pictures = {drawn(open_fonts(24, None, language), "骨").tobytes() for language in ("ja", "zh", "zh-TW")}
    assert len(pictures) == 3
    assert drawn(open_fonts(24, None, "zh_CN"), "骨").tobytes() in pictures


def test_marks_stay_with_their_letter() -> None:
    letters = open_fonts(24, None, None)
    np.testing.assert_array_equal(drawn(letters, "e\u0301"), drawn(letters, "é"))
    assert letters.has("e\u0301")


@pytest.mark.parametrize("text", ["short", "樹式 " * 20, "a" * 200])
def test_lines_are_cut_to_their_width(text: str) -> None:
    letters = open_fonts(20, None, "zh")
    cut = letters.shorten(text, 150)
    assert letters.width(cut) <= 150
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
    assert letters.width(text) > 150 or cut == text


def test_the_box_of_a_font_is_no_letter() -> None:
    font = ImageFont.load_default(20)
    assert has_letter(font, "a")
    assert not has_letter(font, "樹")
