from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.params.model import Threshold
from meltpoint.task.thresholds import SLACK, choose_threshold, choose_unknown

Rows = list[tuple[float, bool]]
Metric = Literal["precision", "recall"]

rows = st.lists(
    st.tuples(st.integers(0, 20).map(lambda part: part / 20) | st.floats(0, 1, width=32), st.booleans()),
    min_size=1,
    max_size=30,
)
shares = st.floats(0, 1)


def arrays(
    given: Rows,
) -> tuple["np.ndarray[tuple[int], np.dtype[np.float32]]", "np.ndarray[tuple[int], np.dtype[np.bool_]]"]:
    return np.array([value for value, _ in given], np.float32), np.array([flag for _, flag in given])


def precision(given: Rows, threshold: float) -> float:
    passed = [flag for value, flag in given if np.float32(value) >= np.float32(threshold)]
    return sum(passed) / len(passed)


def recall(given: Rows, threshold: float) -> float:
    passed = [flag for value, flag in given if np.float32(value) >= np.float32(threshold)]
    return sum(passed) / sum(flag for _, flag in given)


def next_below(values: np.ndarray[Any, np.dtype[np.floating]], value: float) -> float:
    """The largest of the values that is smaller, or a little less."""
    return max((float(own) for own in values if own < value), default=value - 2 * SLACK)


MEASURES: dict[Metric, Callable[[Rows, float], float]] = {"precision": precision, "recall": recall}


@pytest.mark.parametrize("metric", MEASURES)
@given(given=rows, share=shares)
def test_thresholds_are_those_of_trying_each(metric: Metric, given: Rows, share: float) -> None:
    values, flags = arrays(given)
    point = choose_threshold(values, flags, Threshold(metric=metric, at_least=share))
    if not flags.any():
        assert point.value is None
        return
    tried = {float(value): MEASURES[metric](given, float(value)) for value in values}
    reaching = [value for value, reached in tried.items() if reached >= share]
    if reaching:
        wanted = max(reaching) if metric == "recall" else min(reaching)
    else:
        wanted = min(value for value, reached in tried.items() if reached == max(tried.values()))
    assert point.value is not None
    assert point.value == pytest.approx((wanted + next_below(values, wanted)) / 2, abs=1e-6)
    assert point.reached == pytest.approx(MEASURES[metric](given, point.value))
    assert point.reached == pytest.approx(tried[wanted])


@given(given=rows, share=shares)
def test_unknown_begins_where_trying_each_says(given: Rows, share: float) -> None:
    values, flags = arrays(given)
    point = choose_unknown(values, flags, share)
    tried = {float(value): precision(given, float(value)) for value in values}
    reaching = [value for value, reached in tried.items() if reached >= share]
    if not reaching:
        assert (point.value, point.reached) == (None, pytest.approx(max(tried.values())))
        return
    assert point.value is not None
    assert point.value == pytest.approx((min(reaching) + next_below(values, min(reaching))) / 2, abs=1e-6)
    assert point.reached == pytest.approx(precision(given, point.value))


def test_a_little_rounding_tips_no_image() -> None:
    values, flags = np.array([0.9, 0.6, 0.3], np.float32), np.array([True, True, False])
    point = choose_threshold(values, flags, Threshold(metric="recall", at_least=1.0))
    assert point.value is not None
    assert point.value < np.float32(0.6) - 1e-5


def test_what_separates_all_stands_in_the_middle() -> None:
    """A saturated model says 0 and 1 on val; what it says next is not judged by that."""
    values, flags = np.array([1.0, 1.0, 0.0, 0.0], np.float32), np.array([True, True, False, False])
    for metric in MEASURES:
        assert choose_threshold(values, flags, Threshold(metric=metric, at_least=0.95)).value == 0.5


def test_equal_probabilities_pass_together() -> None:
    values, flags = np.array([0.5, 0.5, 0.5, 0.25], np.float32), np.array([True, False, False, True])
    point = choose_threshold(values, flags, Threshold(metric="precision", at_least=0.5))
    assert point.value is not None
    assert point.value < 0.25
    assert point.reached == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbours_stay_apart(dtype: type[np.floating]) -> None:
    """Also where no number lies between two probabilities."""
    one = dtype(1)
    values = np.array([one, np.nextafter(one, dtype(0)), np.nextafter(np.nextafter(one, dtype(0)), dtype(0))], dtype)
    for index in range(3):
        flags = np.arange(3) <= index
        point = choose_unknown(values, flags, 1.0)
        assert (values >= point.value).tolist() == flags.tolist()


def test_no_image_no_choice() -> None:
    nothing = np.zeros(0, np.float32), np.zeros(0, bool)
    assert choose_unknown(*nothing, 0.9).value is None
    assert choose_threshold(*nothing, Threshold(metric="recall", at_least=0.5)).value is None
