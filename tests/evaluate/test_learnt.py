import numpy as np
import pytest

from meltpoint.evaluate.learnt import score_likely

TRUE = np.arange(10, dtype=np.int64)


def test_a_head_that_tells_nothing_apart_has_no_class_among_its_five() -> None:
    assert score_likely(TRUE, np.full((10, 10), 0.1)) == {"top_5_accuracy": 0.0}


@pytest.mark.parametrize(
    ("better", "equal", "found"), [(4, 0, 1.0), (5, 0, 0.0), (3, 1, 1.0), (4, 1, 0.0), (0, 5, 0.0)]
)
def test_classes_as_probable_as_the_true_one_stand_before_it(better: int, equal: int, found: float) -> None:
    """Of ten classes, so many are more probable than the true one, and so many as probable."""
    row = np.array([0.2] + [0.3] * better + [0.2] * equal + [0.1] * (9 - better - equal))
    assert score_likely(np.zeros(1, np.int64), row[None]) == {"top_5_accuracy": found}


def test_a_saturated_head_counts_no_ties_at_zero() -> None:
    """All of the mass on one wrong class, as float32 says it: the other nine are equally improbable."""
    assert score_likely(TRUE, np.roll(np.eye(10), 1, axis=1)) == {"top_5_accuracy": 0.0}
