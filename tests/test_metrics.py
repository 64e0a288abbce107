import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, f1_score

from meltpoint.metrics import confusion, from_confusion, from_margins, ratio, steps

answers = st.integers(2, 5).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), min_size=1, max_size=40),
    )
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(answers)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_scores_are_those_of_scikit_learn(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    size, pairs = drawn
    true, predicted = np.array(pairs, dtype=np.int64).T
    scores = from_confusion(confusion(true, predicted, size))
    labels = range(size)
    found = sorted(set(true))  # a class without an image is no mistake
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    macro = f1_score(true, predicted, labels=found, average="macro", zero_division=0)
    assert scores["macro_f1"] == pytest.approx(macro)
    f1 = f1_score(true, predicted, pos_label=1, zero_division=0) if size == 2 else macro
    assert scores["f1"] == pytest.approx(f1)
    only_one = len(set(true)) == len(set(predicted)) == 1 and true[0] == predicted[0]
    kappa = 0 if only_one else cohen_kappa_score(true, predicted, labels=labels, weights="quadratic")
    assert scores["quadratic_kappa"] == pytest.approx(kappa)


def test_a_stack_of_matrices_gives_a_stack_of_scores() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (4, 2, 3, 3))
    stacked = from_confusion(counts)
    for name, values in stacked.items():
        assert values.shape == (4, 2)
        assert values[2, 1] == from_confusion(counts[2, 1])[name]


def test_margins_say_all_that_the_matrix_says() -> None:
    counts = np.random.default_rng(1).integers(0, 9, (5, 5))
    squares = (counts * steps(5) ** 2).sum()
    assert from_margins(counts.diagonal(), counts.sum(1), counts.sum(0), squares) == from_confusion(counts)


def test_unlabelled_images_are_left_out() -> None:
    counts = confusion(np.array([0, -1, 1]), np.array([0, 0, 0]), 2)
    assert counts.tolist() == [[1, 0], [1, 0]]


def test_nothing_scores_nothing() -> None:
    assert all(value == 0 for value in from_confusion(np.zeros((3, 3))).values())
    assert ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist() == [0.5, 0.0]
