"""Every picture comes to one size; what is kept of it depends on the way, and not on chance."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.images.resize import resize
from meltpoint.params.data import Images

Way = Literal["squash", "crop", "letterbox"]
Interpolation = Literal["bilinear", "bicubic", "area"]


def images(size: int, way: Way, interpolation: Interpolation = "area") -> Images:
    return Images(side=size, resize=way, interpolation=interpolation)


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(8, 40),
    st.sampled_from(["squash", "crop", "letterbox"]),
    st.sampled_from(["bilinear", "bicubic", "area"]),
)
def test_any_picture_becomes_a_square_of_the_size_and_a_flat_one_stays_flat(
    height: int, width: int, size: int, way: Way, interpolation: Interpolation
) -> None:
    flat = np.full((height, width, 3), 90, dtype=np.uint8)
    resized = resize(flat, images(size, way, interpolation))
    assert resized.shape == (size, size, 3)
    assert resized.dtype == np.uint8
    assert set(np.unique(resized)) <= ({0, 90} if way == "letterbox" else {90})


@pytest.mark.parametrize("way", ["squash", "crop", "letterbox"])
def test_a_picture_of_the_size_is_left_as_it_is(way: Way) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(picture, images(16, way)), picture)


def striped() -> np.ndarray:
    """16 x 48: red, green, blue thirds."""
    picture = np.zeros((16, 48, 3), dtype=np.uint8)
    for third in range(3):
        picture[:, 16 * third : 16 * third + 16, third] = 200
    return picture


def test_crop_keeps_the_middle() -> None:
    np.testing.assert_array_equal(resize(striped(), images(8, "crop")), np.full((8, 8, 3), (0, 200, 0)))


def test_squash_keeps_everything() -> None:
    assert (resize(striped(), images(12, "squash"))[0, ::4].argmax(axis=1) == [0, 1, 2]).all()


def test_letterbox_keeps_everything_between_black_bars() -> None:
    resized = resize(striped(), images(12, "letterbox"))
    assert not resized[:4].any()
    assert not resized[8:].any()
    assert (resized[5, ::4].argmax(axis=1) == [0, 1, 2]).all()


def test_the_interpolation_is_the_one_named() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    area, bilinear, bicubic = (resize(picture, images(10, "squash", name)) for name in ("area", "bilinear", "bicubic"))
    np.testing.assert_allclose(area, picture.reshape(10, 4, 10, 4, 3).mean((1, 3)), atol=1)
    assert (bilinear != area).any()
    assert (bicubic != bilinear).any()
