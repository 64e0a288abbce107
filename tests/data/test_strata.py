"""Strata are what they say, and a plain split keeps them on average."""

import numpy as np
import pandas as pd

from meltpoint.data.strata import build_strata, combine_labels, part_plainly

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


def test_strata_are_everything_each_class_and_each_frequent_combination() -> None:
    codes = np.array([[0, 0]] * 10 + [[0, 1]] * 10 + [[1, 1]] * 2)
    groups = np.array([*range(20), 19, 20])  # the last but one image is in a group with one of another class
    strata = build_strata(codes, codes[:, 0] * 2 + codes[:, 1], groups, SHARES)
    assert strata.total.tolist() == [22, 20, 2, 10, 12, 10, 10, 0, 2]
    assert strata.kind.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert strata.sizes.tolist() == [1] * 19 + [2, 1]
    assert strata.finest_first == [5, 6, 2, 3, 4, 1, 0]  # the combination of two images is too rare
    members, counts = strata.members[0]
    assert members.tolist() == list(range(21))
    assert counts.tolist() == [1] * 19 + [2, 1]
    assert strata.column[strata.cells_of(19)].tolist() == [0, 1, 2, 4, 6]


def test_a_plain_split_keeps_the_shares_of_each_stratum_on_average() -> None:
    combined = np.repeat([0, 1], [900, 7])
    counts = sum(
        np.bincount(part_plainly(combined, SHARES, np.random.default_rng(seed))[900:], minlength=3)
        for seed in range(300)
    )
    np.testing.assert_allclose(counts / 300, SHARES * 7, atol=0.15)
