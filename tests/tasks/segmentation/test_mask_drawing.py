"""Names stand inside the regions they name, the legend says what is what, and a PNG keeps ids and colours."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meltpoint.predict.fonts import NARROWEST, SIZES, Fonts, open_fonts
from meltpoint.predict.records import Answer
from meltpoint.tasks.segmentation.answer import read_mask
from meltpoint.tasks.segmentation.geometry import UNSEEN
from meltpoint.tasks.segmentation.mask_drawing import draw_masks, draw_overlay, encode_mask, find_room, paint

if TYPE_CHECKING:
    from saved_models import Kit

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def letters() -> list[Fonts]:
    return [open_fonts(size, None, "zh") for size in SIZES]


@settings(deadline=None, max_examples=60)
@given(
    top=st.integers(0, 30), left=st.integers(0, 30), height=st.integers(3, 40), width=st.integers(3, 40),
    aspect=st.sampled_from([0.5, 1.0, 2.0, 4.0]),
)  # fmt: skip
def test_the_box_found_is_inside_and_nearly_the_largest(
    top: int, left: int, height: int, width: int, aspect: float
) -> None:
    region = np.zeros((80, 80), bool)
    region[top : top + height, left : left + width] = True
    x, y, room = find_room(region, aspect)
    assert room <= height
    assert room * aspect <= width + aspect
    assert room >= min(height, width / aspect) - 3
    if room:
        assert top <= y - room / 2 + 1
        assert y + room / 2 <= top + height + 1
        assert left - aspect <= x - room * aspect / 2
        assert x + room * aspect / 2 <= left + width + aspect


def test_a_ring_has_its_name_in_the_ring() -> None:
    region = np.ones((60, 60), bool)
    region[10:50, 10:58] = False
    x, y, _ = find_room(region, 2.0)
    assert region[round(y), round(x)]


def test_no_region_has_no_room() -> None:
    assert find_room(np.zeros((5, 5), bool), 2.0)[2] == 0


def overlaid(kit: "Kit", mask: Array, letters: list[Fonts], picture: Array | None = None) -> Array:
    shown = np.full((*mask.shape, 3), 100, np.uint8) if picture is None else picture
    said = read_mask(kit.scene_card().heads["scene"], mask, "zh")
    return np.asarray(draw_overlay(shown, said, letters)).astype(int)


def test_names_are_written_inside_of_their_regions_alone(kit: "Kit", letters: list[Fonts]) -> None:
    mask = np.zeros((100, 200), np.uint8)
    mask[:, 100:] = 1
    mask[5:15, 5:12] = 2  # too small for a name
    drawing = overlaid(kit, mask, letters)
    white = (drawing == 255).all(-1)
    assert white[:, :100].sum() > 20
    assert white[:, 100:].sum() > 20
    assert not white[:, 97:103].any()
    assert not white[5:15, 5:12].any()
    other = kit.scene_card().heads["scene"].model_copy(update={"names": {}})
    plain = np.asarray(draw_overlay(np.full((100, 200, 3), 100, np.uint8), read_mask(other, mask, None), letters))
    assert (plain != drawing).any(), "the names are others"


def test_colours_are_over_the_picture_and_what_was_not_seen_is_as_it_was(kit: "Kit", letters: list[Fonts]) -> None:
    picture = kit.noise(0, 60, 60)
    mask = np.full((60, 60), UNSEEN, np.uint8)
    mask[:4] = 2
    drawing = overlaid(kit, mask, letters, picture)
    np.testing.assert_array_equal(drawing[5:], picture[5:])
    np.testing.assert_allclose(drawing[:3], (picture[:3].astype(int) + 128) / 2, atol=1)
    assert (drawing[3] < 90).all(), "an edge is dark"


def draw(kit: "Kit", mask: Array, letters: list[Fonts], steady: bool) -> Image.Image:
    said = read_mask(kit.scene_card().heads["scene"], mask, None)
    answer = Answer("a.png", None, {}, (), {"scene": said})
    return draw_masks(np.full((*mask.shape, 3), 9, np.uint8), answer, letters, steady)


@pytest.mark.parametrize("shape", [(1, 1), (8, 2000), (2000, 8), (300, 640)])
def test_pictures_of_any_shape_have_a_legend(kit: "Kit", letters: list[Fonts], shape: tuple[int, int]) -> None:
    drawing = draw(kit, np.zeros(shape, np.uint8), letters, steady=False)
    assert drawing.width == max(shape[1], NARROWEST)
    legend = np.asarray(drawing)[shape[0] :]
    assert len(legend) > 20
    assert (legend == [0x20, 0xC0, 0x20]).all(-1).sum() > 100, "the swatch"
    assert (legend < 100).all(-1).sum() > 20, "the name"


def test_a_steady_legend_names_all_classes_and_keeps_its_size(kit: "Kit", letters: list[Fonts]) -> None:
    masks = [np.full((50, 500), number, np.uint8) for number in (0, 2)]
    sizes = {draw(kit, mask, letters, steady=True).size for mask in masks}
    assert len(sizes) == 1
    told = np.asarray(draw(kit, masks[0], letters, steady=True))[50:]
    some = np.asarray(draw(kit, masks[0], letters, steady=False))[50:]
    for colour in ([0x20, 0x40, 0xE0], [0x80, 0x80, 0x80]):
        assert (told == colour).all(-1).any()
        assert not (some == colour).all(-1).any()


def test_each_head_has_its_own_picture(kit: "Kit", letters: list[Fonts]) -> None:
    said = read_mask(kit.scene_card().heads["scene"], np.zeros((50, 500), np.uint8), None)
    picture = np.full((50, 500, 3), 9, np.uint8)
    one = draw_masks(picture, Answer(None, None, {}, (), {"a": said}), letters, steady=False)
    two = draw_masks(picture, Answer(None, None, {}, (), {"a": said, "b": said}), letters, steady=False)
    assert two.height > 2 * one.height


COLOURS = ["#20c020", "#2040e0", "#808080"]


def test_areas_are_shares_of_what_was_seen_the_largest_first(kit: "Kit") -> None:
    mask = np.array([[1, 1, 1], [0, UNSEEN, UNSEEN]], np.uint8)
    said = read_mask(kit.scene_card().heads["scene"], mask, "zh")
    assert [(area.label, area.name, area.share) for area in said.areas] == [
        ("water", "水", 0.75),
        ("grass", "草地", 0.25),
    ]
    assert [area.share for area in said.legend] == [0.25, 0.75, 0]
    assert (said.legend[2].name, said.legend[2].colour) == ("rock", "#808080"), "no name in Chinese"


def test_nothing_seen_is_no_area(kit: "Kit") -> None:
    assert read_mask(kit.scene_card().heads["scene"], np.full((2, 2), UNSEEN, np.uint8), None).areas == ()


@given(st.binary(min_size=1, max_size=40), st.integers(1, 4))
def test_a_png_keeps_ids_and_shows_colours(content: bytes, rows: int) -> None:
    mask = np.frombuffer(content * rows, np.uint8).reshape(rows, -1) % 4
    mask = np.where(mask == 3, UNSEEN, mask).astype(np.uint8)
    with Image.open(io.BytesIO(encode_mask(mask, COLOURS))) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), mask)
        shown = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(shown[..., :3][mask < 3], paint(mask, COLOURS)[mask < 3])
    np.testing.assert_array_equal(shown[..., 3] == 0, mask == UNSEEN)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_colours_are_those_of_the_classes(number: int) -> None:
    painted = paint(np.full((1, 1), number, np.uint8), COLOURS)[0, 0]
    assert "#" + "".join(f"{value:02x}" for value in painted) == COLOURS[number]
