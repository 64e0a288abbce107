"""A mask lies over the picture it is of, whatever was done to bring the picture to the model's size."""

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.images.resize import resize
from meltpoint.params.data import Images
from meltpoint.tasks.segmentation.geometry import UNSEEN, is_larger, restore, slide

if TYPE_CHECKING:
    from saved_models import Kit

SIZE = 32
Array = np.ndarray[Any, Any]


def images(way: str) -> Images:
    return Images.model_validate({"side": SIZE, "resize": way, "interpolation": "area"})


def one_hot(values: Array) -> Array:
    """Two planes (2, S, S) that say class 1 where the picture is white."""
    white = values[..., 0].astype(np.float32) / 255
    return np.stack([1 - white, white])


def look(squares: Array) -> dict[str, Array]:
    return {"head": np.stack([one_hot(square) for square in squares])}


def half(height: int, width: int, place: float, upright: bool) -> Array:
    """A picture (H, W, 3), white from `place` of its height or width on."""
    picture = np.zeros((height, width, 3), np.uint8)
    if upright:
        picture[:, round(width * place) :] = 255
    else:
        picture[round(height * place) :] = 255
    return picture


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    way=st.sampled_from(["squash", "crop", "letterbox"]),
    place=st.floats(0.3, 0.7),
    upright=st.booleans(),
)
def test_borders_come_back_to_where_they_were(height: int, width: int, way: str, place: float, upright: bool) -> None:
    picture = half(height, width, place, upright)
    mask = restore(one_hot(resize(picture, images(way))), height, width, images(way))
    assert mask.shape == (height, width)
    assert mask.dtype == np.uint8
    seen = mask != UNSEEN
    wrong = seen & (mask != picture[..., 0] // 255)
    lines = wrong.any(0) if upright else wrong.any(1)
    scale = max(height, width) if way == "letterbox" else (width if upright else height)
    assert lines.sum() <= 1 + scale / SIZE, "off by a pixel of the model's at most"
    side = min(height, width)
    assert seen.sum() == (side * side if way == "crop" else height * width)


def test_what_a_crop_cuts_off_was_not_seen() -> None:
    mask = restore(one_hot(half(SIZE, SIZE, 0.5, upright=True)), 40, 100, images("crop"))
    assert (mask[:, :30] == UNSEEN).all()
    assert (mask[:, 70:] == UNSEEN).all()
    assert (mask[:, 30:70] != UNSEEN).all()


def test_a_mask_in_the_models_size_is_the_likeliest_class() -> None:
    planes = np.random.default_rng(0).random((5, SIZE, SIZE), dtype=np.float32)
    for way in ("squash", "crop", "letterbox"):
        np.testing.assert_array_equal(restore(planes, SIZE, SIZE, images(way)), planes.argmax(0))


@settings(deadline=None, max_examples=40)
@given(height=st.integers(8, 130), width=st.integers(8, 130), seed=st.integers(0, 99))
def test_windows_say_of_each_pixel_what_a_model_of_pixels_says(height: int, width: int, seed: int) -> None:
    coarse = np.random.default_rng(seed).integers(0, 2, (9, 9), dtype=np.uint8) * 255
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)[..., None].repeat(3, 2)
    np.testing.assert_array_equal(slide(look, picture, SIZE)["head"], picture[..., 0] // 255)


@pytest.mark.parametrize("upright", [True, False])
def test_windows_overlap_and_the_middle_of_a_window_weighs_most(upright: bool) -> None:
    seen: list[Array] = []

    def first_third_is_class_1(squares: Array) -> dict[str, Array]:
        """Class 1 in the first third of each window, wherever it is."""
        seen.extend(squares)
        planes = np.zeros((len(squares), 2, SIZE, SIZE), np.float32)
        planes[:, 0] = 0.3
        planes[:, 1, :, : SIZE // 3] = 0.9
        return {"head": planes if upright else planes.swapaxes(2, 3)}

    picture = np.zeros((SIZE, 3 * SIZE, 3) if upright else (3 * SIZE, SIZE, 3), np.uint8)
    mask = slide(first_third_is_class_1, picture, SIZE)["head"]
    mask = mask if upright else mask.T
    assert len(seen) == 5
    assert (mask[:, :8] == 1).all(), "only one window is there"
    assert (mask[:, SIZE : SIZE + 3] == 0).all(), "the middle of another window outweighs the edge of this one"


def test_borders_lie_where_probabilities_cross() -> None:
    planes = np.full((2, SIZE, SIZE), 0.5, np.float32)
    planes[1], planes[1, :, SIZE // 2 :] = 0, 0.6
    mask = restore(planes, 10 * SIZE, 10 * SIZE, images("squash"))
    assert 10 * SIZE // 2 + 3 <= np.flatnonzero(mask[0])[0] <= 10 * SIZE // 2 + 4, "five sixths from cell to cell"


@pytest.mark.parametrize(
    ("shape", "larger"), [((32, 32), False), ((33, 32), True), ((4, 400), True), ((3, 4000), False), ((8, 8), False)]
)
def test_windows_are_for_what_is_larger_and_no_thread(shape: tuple[int, int], larger: bool) -> None:
    assert is_larger(np.zeros((*shape, 3), np.uint8), SIZE) is larger


def test_only_a_band_of_a_large_picture_is_worked_on(kit: "Kit") -> None:
    most = 0

    def count(squares: Array) -> dict[str, Array]:
        nonlocal most
        most = max(most, len(squares))
        return look(squares)

    slide(count, np.zeros((10 * SIZE, 10 * SIZE, 3), np.uint8), SIZE)
    assert most <= 4
