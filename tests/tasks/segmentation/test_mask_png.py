"""A mask tells areas that sum to 1, and its PNG keeps ids and colours."""

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meltpoint.tasks.segmentation.answer import read_mask
from meltpoint.tasks.segmentation.geometry import UNSEEN
from meltpoint.tasks.segmentation.mask_drawing import encode_mask, paint

if TYPE_CHECKING:
    from saved_models import Kit

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
