"""Parts keep the shares of every class, and groups stay whole."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.strata import combine_labels, part_groups, part_plainly
from meltpoint.tables import say_present

SHARES = np.array([0.64, 0.11, 0.25])


def test_a_missing_label_is_a_class_of_its_own() -> None:
    samples = pd.DataFrame({"a": ["x", "y", None, "x"], "b": ["u", "u", "u", None]}, dtype="string")
    codes, combined = combine_labels(samples, {"a": ["x", "y"], "b": ["u", "w"]})
    assert codes.tolist() == [[0, 0], [1, 0], [2, 0], [0, 2]]
    assert len(set(combined)) == 4


def test_each_class_of_masks_is_a_column_without_a_stratum_where_it_does_not_show() -> None:
    shown = ["sky|road", "road", None, "sky|road|car"]
    samples = pd.DataFrame({"a": ["x", "x", "y", "y"], "m": shown, "m.mask": ["1", "2", "3", "4"]}, dtype="string")
    codes, combined = combine_labels(samples, {"a": ["x", "y"], "m": ["sky", "road", "car"]})
    assert codes.tolist() == [[0, 0, 0, -1], [0, -1, 0, -1], [1, -1, -1, -1], [1, 0, 0, 0]]
    assert len(set(combined)) == 4


@given(st.integers(0, 2**32 - 1))
def test_every_class_of_masks_keeps_its_share_and_the_rare_are_everywhere(seed: int) -> None:
    random, classes = np.random.default_rng(seed), [f"c{number}" for number in range(6)]
    often = random.random((400, 6)) < np.array([1.0, 0.9, 0.5, 0.2, 0.05, 0.0])
    often[:3, 5] = True
    cells = [say_present(name for name, shows in zip(classes, row, strict=True) if shows) for row in often]
    samples = pd.DataFrame({"m": cells, "m.mask": cells}, dtype="string")
    parts = part_groups(*combine_labels(samples, {"m": classes}), np.arange(400), SHARES)
    for number in range(5):
        counts = np.bincount(parts[often[:, number]], minlength=3)
        np.testing.assert_allclose(counts, SHARES * often[:, number].sum(), atol=8)
    assert sorted(parts[:3]) == [0, 1, 2]


@given(st.integers(0, 2**32 - 1), st.integers(300, 600))
def test_single_images_part_by_the_shares_of_every_class_and_combination(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    codes = np.stack([random.integers(0, 2, count), random.choice(3, count, p=[0.7, 0.2, 0.1])], axis=1)
    combined = codes[:, 0] * 3 + codes[:, 1]
    parts = part_groups(codes, combined, np.arange(count), SHARES)
    np.testing.assert_allclose(np.bincount(parts, minlength=3), SHARES * count, atol=2.5)
    for strata in (*codes.T, combined):
        for stratum in np.unique(strata):
            inside = parts[strata == stratum]
            np.testing.assert_allclose(np.bincount(inside, minlength=3), SHARES * len(inside), atol=2.5)


@given(st.integers(0, 2**32 - 1))
def test_groups_of_uneven_size_still_meet_the_shares(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(200), random.geometric(0.4, 200))
    codes = random.integers(0, 2, (len(groups), 1))
    parts = part_groups(codes, codes[:, 0], groups, SHARES)[groups]
    np.testing.assert_allclose(np.bincount(parts, minlength=3) / len(groups), SHARES, atol=0.02)


def test_three_images_of_a_rare_class_go_one_to_each_part() -> None:
    codes = np.array([[0]] * 97 + [[1]] * 3)
    parts = part_groups(codes, codes[:, 0], np.arange(100), SHARES)
    assert sorted(parts[97:]) == [0, 1, 2]


def test_a_class_of_few_large_groups_is_still_in_each_part() -> None:
    groups = np.repeat(np.arange(53), [60, 30, 30, *[2] * 50])
    codes = (groups >= 3).astype(np.int64)[:, None]
    parts = part_groups(codes, codes[:, 0], groups, SHARES)
    assert sorted(parts[:3]) == [0, 1, 2]


def test_a_part_without_a_share_gets_nothing() -> None:
    codes = np.zeros((50, 1), dtype=np.int64)
    parts = part_groups(codes, codes[:, 0], np.arange(50), np.array([0.8, 0.2, 0.0]))
    assert np.bincount(parts, minlength=3).tolist() == [40, 10, 0]


def test_a_plain_split_keeps_the_shares_of_each_stratum_on_average() -> None:
    combined = np.repeat([0, 1], [900, 7])
    counts = sum(
        np.bincount(part_plainly(combined, SHARES, np.random.default_rng(seed))[900:], minlength=3)
        for seed in range(300)
    )
    np.testing.assert_allclose(counts / 300, SHARES * 7, atol=0.15)
