"""Contact sheets are pictures with a cell for each image, whatever the images, the letters and their number."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from meltpoint.duplicate import TURNS, Duplicate
from meltpoint.images.contact_sheet import draw_pairs, draw_sheet

if TYPE_CHECKING:
    from conftest import Gallery


def twins(first: int, second: int, turn: str = TURNS[0]) -> Duplicate:
    return Duplicate(first, second, exact=False, turn=turn, correlation=0.9, distance=0)


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def holds(sheet: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((sheet == colour).all(-1).sum() > 1000)


def test_every_image_is_on_the_sheet(tmp_path: Path) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
    shapes = [(10, 10, 3), (200, 100, 3), (1, 50, 3), (400, 400, 3), (64, 64, 3)]
    images = [np.full(shape, colour, dtype=np.uint8) for shape, colour in zip(shapes, colours, strict=True)]
    draw_sheet(images, [f"picture {number}\nof five" for number in range(5)], 3, "Five pictures", tmp_path / "five.png")
    sheet = opened(tmp_path / "five.png")
    assert [holds(sheet, colour) for colour in colours] == [True, True, False, True, True]  # one is a line
    assert sheet.shape[1] > 3 * 144


def test_a_sheet_of_nothing_is_a_title(tmp_path: Path) -> None:
    draw_sheet([], [], 4, "No mistakes", tmp_path / "none.png")
    sheet = opened(tmp_path / "none.png")
    assert sheet.min() < 100
    assert sheet.shape[0] < 150


@pytest.mark.parametrize(
    "caption", ["太阳能电池 γ° ✓", "a caption that is far too long for the cell it stands under " * 3, ""]
)
def test_captions_of_any_letters_and_length_are_drawn(caption: str, tmp_path: Path) -> None:
    draw_sheet([np.zeros((8, 8, 3), dtype=np.uint8)], [caption], 1, "t", tmp_path / "sheet.png")
    short = opened(tmp_path / "sheet.png")
    assert short.shape[1] < 250


def test_pairs_stand_side_by_side_and_the_second_is_turned_back(tmp_path: Path, gallery: "Gallery") -> None:
    picture = np.zeros((100, 100, 3), dtype=np.uint8)
    picture[:50, :50] = (250, 0, 0)
    picture[:50, 50:] = (0, 250, 0)
    Image.fromarray(picture).save(gallery.raw / "0.png")
    Image.fromarray(np.rot90(picture, -1)[:, ::-1]).save(gallery.raw / "1.png")  # turned right, then mirrored
    pair = twins(0, 1, "turned by 270° and mirrored")
    draw_pairs(gallery.read, gallery.samples, [pair], [True], tmp_path / "pairs.png")
    sheet = opened(tmp_path / "pairs.png")
    row = next(line for line in sheet if (line == (250, 0, 0)).all(-1).any())
    reds, greens = np.flatnonzero((row == (250, 0, 0)).all(-1)), np.flatnonzero((row == (0, 250, 0)).all(-1))
    assert (np.diff(reds) > 50).sum() == 1  # twice red, then green
    assert reds[0] < greens[0] < reds[-1] < greens[-1]


def test_many_pairs_are_shown_by_some(tmp_path: Path, gallery: "Gallery") -> None:
    few = [twins(0, number) for number in range(1, 12)]
    draw_pairs(gallery.read, gallery.samples, few, [False] * 11, tmp_path / "few.png")
    draw_pairs(gallery.read, gallery.samples, few * 4, [False] * 44, tmp_path / "many.png")
    draw_pairs(gallery.read, gallery.samples, few * 40, [False] * 440, tmp_path / "more.png")
    heights = [opened(tmp_path / f"{name}.png").shape[0] for name in ("few", "many", "more")]
    assert heights[0] < heights[1] == heights[2]


def test_no_pairs_are_a_picture_that_says_so(tmp_path: Path, gallery: "Gallery") -> None:
    draw_pairs(gallery.read, gallery.samples, [], [], tmp_path / "pairs.png")
    assert opened(tmp_path / "pairs.png").shape[0] < 150
