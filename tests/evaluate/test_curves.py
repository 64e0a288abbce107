import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meltpoint.evaluate.curves import Curve, average, expected_calibration_error, rank_classes, reliability


def test_reliability_counts_every_image_once() -> None:
    probabilities = np.array([[0.55, 0.45], [0.05, 0.95], [1.0, 0.0], [0.52, 0.48], [0.5, 0.5]])
    table = reliability(np.array([0, 1, 1, 1, 0]), probabilities.argmax(1), probabilities.max(1), 10)
    assert table["images"].tolist() == [3, 2]
    assert table["low"].tolist() == [0.5, 0.9]
    assert table["high"].tolist() == [0.6, 1.0]
    assert table["confidence"].tolist() == pytest.approx([(0.55 + 0.52 + 0.5) / 3, 0.975])
    assert table["accuracy"].tolist() == pytest.approx([2 / 3, 0.5])


@hypothesis_settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(2, 30))
def test_calibration_error_is_the_textbook_sum(seed: int, classes: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    true, probabilities = rng.integers(0, classes, 50), rng.dirichlet(np.ones(classes), 50)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == true
    expected = 0.0
    for index in range(bins):
        inside = (confidence >= index / bins) & (confidence < (index + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert expected_calibration_error(reliability(true, probabilities.argmax(1), confidence, bins)) == pytest.approx(
        expected
    )


def test_certain_and_right_is_calibrated() -> None:
    table = reliability(np.array([0, 1]), np.array([0, 1]), np.ones(2), 15)
    assert expected_calibration_error(table) == 0
    assert len(reliability(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), 15)) == 0


def test_only_classes_with_others_beside_them_are_ranked() -> None:
    true = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.5, 0.5, 0], [0.2, 0.7, 0.1]])
    ranked = rank_classes(true, probabilities, ["a", "b", "never"])
    assert list(ranked) == ["a", "b"]
    assert ranked["a"].roc.area == 1
    assert (np.diff(ranked["b"].precision_recall.x) >= 0).all()
    assert rank_classes(np.zeros(3, dtype=np.int64), np.full((3, 2), 0.5), ["a", "b"]) == {}


def test_the_mean_of_curves_lies_between_them() -> None:
    low = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5)
    high = Curve(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]), 1.0)
    mean = average([low, high], 11)
    assert mean.area == 0.75
    assert mean.y[1:] == pytest.approx((1 + np.linspace(0, 1, 11)[1:]) / 2)


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    x = np.linspace(0, 1, 5001)
    thin = average([Curve(x, x**2, 1 / 3)], 100)
    assert len(thin.x) <= 102
    assert (thin.x[0], thin.x[-1]) == (0, 1)
    assert thin.area == 1 / 3
