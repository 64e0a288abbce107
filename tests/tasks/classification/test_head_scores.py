from collections.abc import Callable

import numpy as np
import pytest

from meltpoint.evaluate.judgement import describe_calibration
from meltpoint.model.card import HeadCard
from meltpoint.params.model import Coverage, Threshold
from meltpoint.tasks.classification.head_scores import score_likely, score_threshold, score_unknown

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


SAID = np.array([0, 0, 1, 2])
SHOWN = np.array([[0.6, 0.3, 0.1], [0.45, 0.44, 0.11], [0.1, 0.85, 0.05], [0.3, 0.3, 0.4]])


def wished(card: Callable[..., HeadCard], unknown: float | Coverage | None, below: float | None) -> HeadCard:
    own = card(["a", "b", "c"], below=below)
    return own.model_copy(update={"head": own.head.model_copy(update={"unknown": unknown})})


def test_of_a_coverage_what_is_not_alone_in_its_set_is_unknown(card: Callable[..., HeadCard]) -> None:
    """From 0.42 on: alone, beside another, alone, nobody."""
    own = wished(card, Coverage(coverage=0.9), 0.42)
    assert own.find_unknown(SHOWN, SAID).tolist() == [False, True, False, True]
    assert wished(card, 0.9, 0.42).find_unknown(SHOWN, SAID).tolist() == [False, False, False, True]
    assert own.find_unknown(SHOWN, np.array([1, 1, 0, 2])).all(), "the answer itself has to be in the set"
    scores = score_unknown(np.array([0, 1, 0, 2]), SAID, SHOWN, own)
    assert scores == {"coverage": 0.5, "answered_accuracy": 0.5, "set_coverage": 0.5}
    assert describe_calibration(own)["unknown"] == {"below": 0.42, "right": None, "coverage": 0.9}


def test_a_wish_that_val_could_not_show_is_in_the_report(card: Callable[..., HeadCard]) -> None:
    own = wished(card, Coverage(coverage=0.9), None)
    assert not own.find_unknown(SHOWN, SAID).any()
    scores = score_unknown(SAID, SAID, SHOWN, own)
    assert scores == {"coverage": 1.0, "answered_accuracy": 1.0, "set_coverage": None}
    learnt = describe_calibration(own)
    assert (learnt["unknown"], learnt["not_shown"]) == (None, ["a coverage of 0.9, so no answer is unknown"])
    assert describe_calibration(wished(card, 0.8, None))["not_shown"] == [
        "0.8 of answers right, so no answer is unknown"
    ]
    two = card(["no", "yes"], wished=Threshold(metric="recall", at_least=0.95))
    assert describe_calibration(two)["not_shown"] == [
        "a recall of at least 0.95, so the more probable class is the answer"
    ]
    assert score_threshold(np.array([[3, 1], [2, 2]]), two) == {"precision": 2 / 3, "recall": 0.5}
