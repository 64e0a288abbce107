"""Groups keep their parts while others come and go, parts keep the shares of every class, and groups stay whole."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from meltpoint.arrays import Ints
from meltpoint.data.assignment import LEAST_ROOM, OF_ALL, OF_CLASS, assign
from meltpoint.data.strata import build_strata, combine_labels
from meltpoint.tables import say_present

SHARES = np.array([0.64, 0.11, 0.25])
SEEDS = st.integers(0, 2**32 - 1)


def part(codes: Ints, combined: Ints, groups: Ints, draws: NDArray[np.float64], shares: NDArray[np.float64]) -> Ints:
    return assign(build_strata(codes, combined, groups, shares), shares, draws)


def room(counts: NDArray[Any], factor: float) -> NDArray[np.float64]:
    """What `deal` allows for a stratum with `counts` images in each of its groups, (S,)."""
    return np.maximum(LEAST_ROOM, factor * np.sqrt(SHARES * (1 - SHARES) * (counts**2).sum())) + 1e-6


def make_codes(random: np.random.Generator, count: int) -> Ints:
    return np.stack([random.integers(0, 2, count), random.choice(4, count, p=[0.6, 0.2, 0.15, 0.05])], axis=1)


@given(SEEDS, st.integers(300, 600))
def test_single_images_part_by_the_shares_of_every_class(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    codes = make_codes(random, count)
    parts = part(codes, codes[:, 0] * 4 + codes[:, 1], np.arange(count), random.random(count), SHARES)
    assert (np.abs(np.bincount(parts, minlength=3) - SHARES * count) <= room(np.ones(count), OF_ALL)).all()
    for column in codes.T:
        for name in np.unique(column):
            inside = parts[column == name]
            off = np.abs(np.bincount(inside, minlength=3) - SHARES * len(inside))
            most = np.maximum(room(np.ones(len(inside)), OF_CLASS), 2 * LEAST_ROOM)  # for finer strata go first
            assert (off <= most).all()
            assert set(inside) == {0, 1, 2}


@given(SEEDS)
def test_groups_of_uneven_size_still_meet_the_shares(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.geometric(0.4, 200)
    groups = np.repeat(np.arange(200), sizes)
    codes = random.integers(0, 2, (len(groups), 1))
    parts = part(codes, codes[:, 0], groups, random.random(200), SHARES)[groups]
    off = np.abs(np.bincount(parts, minlength=3) - SHARES * len(groups))
    assert (off <= room(sizes, OF_ALL) + 1).all()


@given(SEEDS)
def test_every_class_of_masks_keeps_its_share_and_the_rare_are_everywhere(seed: int) -> None:
    random, classes = np.random.default_rng(seed), [f"c{number}" for number in range(6)]
    often = random.random((400, 6)) < np.array([1.0, 0.9, 0.5, 0.2, 0.05, 0.0])
    often[:3, 5] = True
    cells = [say_present(name for name, shows in zip(classes, row, strict=True) if shows) for row in often]
    samples = pd.DataFrame({"m": cells, "m.mask": cells}, dtype="string")
    parts = part(*combine_labels(samples, {"m": classes}), np.arange(400), random.random(400), SHARES)
    for number in range(5):
        counts = np.bincount(parts[often[:, number]], minlength=3)
        np.testing.assert_allclose(counts, SHARES * often[:, number].sum(), atol=12)
    assert sorted(parts[:3]) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("more", "most"), [(1, 0.005), (10, 0.01), (100, 0.03)])
def test_few_move_when_others_come(seed: int, more: int, most: float) -> None:
    """The same read backwards: few move when others go."""
    random = np.random.default_rng(seed)
    codes, draws = make_codes(random, 1000 + more), random.random(1000 + more)
    combined, groups = codes[:, 0] * 4 + codes[:, 1], np.arange(1000 + more)
    before, after = (
        part(codes[:count], combined[:count], groups[:count], draws[:count], SHARES) for count in (1000, 1000 + more)
    )
    assert (before != after[:1000]).mean() <= most


@pytest.mark.parametrize("seed", range(5))
def test_nearly_everyone_is_where_the_draw_falls(seed: int) -> None:
    random = np.random.default_rng(seed)
    codes, draws = make_codes(random, 2000), random.random(2000)
    parts = part(codes, codes[:, 0] * 4 + codes[:, 1], np.arange(2000), draws, SHARES)
    fallen = np.where(draws < 0.25, 2, np.where(draws < 0.36, 1, 0))
    assert (parts != fallen).mean() < 0.02
    away = np.abs(draws[:, None] - [0, 0.25, 0.36, 1]).min(axis=1)
    assert away[parts != fallen].max(initial=0) < 0.2


def test_a_large_group_stays_and_small_ones_make_up_for_it() -> None:
    groups = np.array([0] * 20 + list(range(1, 201)))
    draws = np.array([0.2499, *np.linspace(0.2, 0.999, 200)])
    parts = part(np.zeros((220, 1), np.int64), np.zeros(220, np.int64), groups, draws, SHARES)
    assert parts[0] == 2
    assert (parts[groups] == 2).sum() == pytest.approx(55, abs=9)


def test_three_images_of_a_rare_class_go_one_to_each_part() -> None:
    codes = np.array([[0]] * 97 + [[1]] * 3)
    for seed in range(10):
        draws = np.random.default_rng(seed).random(100)
        parts = part(codes, codes[:, 0], np.arange(100), draws, SHARES)
        assert sorted(parts[97:]) == [0, 1, 2]


def test_a_class_of_few_large_groups_is_still_in_each_part() -> None:
    groups = np.repeat(np.arange(53), [60, 30, 30, *[2] * 50])
    codes = (groups >= 3).astype(np.int64)[:, None]
    for seed in range(10):
        draws = np.random.default_rng(seed).random(53)
        assert sorted(part(codes, codes[:, 0], groups, draws, SHARES)[:3]) == [0, 1, 2]


@pytest.mark.parametrize("shares", [[0.8, 0.2, 0.0], [0.8, 0.0, 0.2], [1.0, 0.0, 0.0]])
def test_a_part_without_a_share_gets_nothing(shares: list[float]) -> None:
    codes, draws = np.zeros((200, 1), dtype=np.int64), np.random.default_rng(0).random(200)
    counts = np.bincount(part(codes, codes[:, 0], np.arange(200), draws, np.array(shares)), minlength=3)
    assert (counts[np.array(shares) == 0] == 0).all()
    np.testing.assert_allclose(counts, 200 * np.array(shares), atol=3)
