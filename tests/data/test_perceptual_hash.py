"""Detail survives exposure, focus and size, turns with the picture, and loses what all pictures share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.data.perceptual_hash import SIDE, agreement, detail_of, hash_details, learn_common, turned
from meltpoint.duplicate import TURNS


def texture(seed: int, side: int = 160) -> np.ndarray:
    """A grey picture of smooth noise, (side, side) uint8."""
    noise = np.random.default_rng(seed).normal(size=(side // 4, side // 4))
    smooth = np.kron(noise, np.ones((4, 4)))
    return np.clip(128 + 40 * smooth, 0, 255).astype(np.uint8)


def details(*pictures: np.ndarray) -> np.ndarray:
    return np.stack([detail_of(picture) for picture in pictures])


@pytest.mark.parametrize("turn", range(8))
def test_detail_and_hash_turn_with_the_picture(turn: int) -> None:
    picture = texture(1)
    whole, moved = details(picture, np.ascontiguousarray(turned(picture, turn)))
    assert agreement(turned(whole, turn)[None], moved[None])[0] > 0.99
    hashes = hash_details(np.stack([whole, moved]))
    assert np.bitwise_count(hashes[turn, :, 0] ^ hashes[0, :, 1]).sum() <= 8
    others = [np.bitwise_count(hashes[other, :, 0] ^ hashes[0, :, 1]).sum() for other in range(8) if other != turn]
    assert min(others) > 88


def test_turns_are_named_and_all_different() -> None:
    square = np.arange(9, dtype=np.int8).reshape(3, 3)
    assert len({turned(square, turn).tobytes() for turn in range(len(TURNS))}) == 8
    assert len(set(TURNS)) == 8


def test_exposure_and_size_leave_the_detail_alone() -> None:
    picture = texture(2)
    dark = (picture * 0.5 + 20).astype(np.uint8)
    large = np.kron(picture, np.ones((3, 5))).astype(np.uint8)
    huge = np.kron(picture, np.ones((5, 5))).astype(np.uint8)
    original = np.repeat(details(picture), 3, axis=0)
    assert (agreement(original, details(dark, large, huge)) > 0.95).all()


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1001, 2000))
def test_different_textures_do_not_agree(one: int, other: int) -> None:
    assert abs(agreement(details(texture(one)), details(texture(other)))[0]) < 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3, 2), (700, 600)])
def test_a_blank_picture_of_any_shape_has_no_detail(shape: tuple[int, int]) -> None:
    blank = detail_of(np.full(shape, 77, dtype=np.uint8))
    assert blank.shape == (SIDE, SIDE)
    assert not blank.any()


def test_agreement_is_symmetric_and_has_no_opinion_on_nothing() -> None:
    one, other = details(texture(1)), details(texture(2) // 2 + texture(1) // 2)
    assert agreement(one, other) == pytest.approx(agreement(other, one))
    assert agreement(one * 0, one * 0)[0] == 0


def test_a_pattern_that_all_share_is_no_evidence_but_a_rare_one_is() -> None:
    frame = texture(0).astype(int)
    pictures = [np.clip(frame + texture(seed).astype(int) // 4 - 32, 0, 255).astype(np.uint8) for seed in range(1, 60)]
    twin = np.clip(pictures[0].astype(int) + np.random.default_rng(0).integers(-2, 3, frame.shape), 0, 255)
    all_of_them = details(*pictures, twin.astype(np.uint8))
    before = agreement(all_of_them[:1], all_of_them[1:2])[0]
    all_of_them = learn_common(all_of_them, 0.005, 60)(all_of_them)
    assert before > 0.6
    assert agreement(all_of_them[:1], all_of_them[1:2])[0] < 0.4
    assert agreement(all_of_them[:1], all_of_them[-1:])[0] > 0.8
