import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import norm

from meltpoint.evaluate.bootstrap import Difference, Interval
from meltpoint.evaluate.verdict import Rival, cheapest_best, images_to_settle, rule
from meltpoint.params.judging import Compare

SETTINGS = Compare(metric="accuracy", margin=0.01, confidence=0.95, resamples=500, cost="train_seconds")


def difference(value: float, half: float) -> Difference:
    """A normal one, as a large test would give."""
    error = half / float(norm.isf(0.025))
    p_value = float(2 * norm.sf(abs(value) / error)) if error else float(value == 0)
    return Difference(value, Interval(value - half, value + half), error, p_value)


def rival(name: str, cost: float, value: float, half: float) -> Rival:
    found = difference(value, half)
    return Rival(name, cost, found, found.p_value)


def test_a_best_that_is_shown_better_is_shipped() -> None:
    ruling = rule("best", 100, [rival("cheap", 1, 0.04, 0.02)], 600, SETTINGS)
    assert (ruling.winner, ruling.verdict, ruling.more_images) == ("best", "ship", None)
    assert ruling.standings == {"best": "best", "cheap": "worse"}


def test_the_cheapest_that_loses_less_than_the_margin_is_shipped() -> None:
    rivals = [rival("cheap", 10, 0.001, 0.005), rival("cheapest", 1, 0.0, 0.009), rival("poor", 0.5, 0.09, 0.01)]
    ruling = rule("best", 100, rivals, 600, SETTINGS)
    assert (ruling.winner, ruling.verdict) == ("cheapest", "ship")


def test_shown_worse_by_less_than_the_margin_is_as_good() -> None:
    ruling = rule("best", 100, [rival("cheap", 1, 0.005, 0.003)], 90_000, SETTINGS)
    assert (ruling.winner, ruling.standings["cheap"]) == ("cheap", "as good")


def test_a_cheaper_one_that_stands_open_leaves_it_unsettled() -> None:
    ruling = rule("best", 100, [rival("cheap", 1, 0.02, 0.03), rival("other", 2, 0.05, 0.02)], 600, SETTINGS)
    assert (ruling.winner, ruling.verdict, ruling.unsettled) == ("best", "not_enough_evidence", ["cheap"])
    assert ruling.more_images is not None
    assert ruling.more_images > 600


def test_a_dearer_one_that_stands_open_does_not_matter() -> None:
    ruling = rule("best", 1, [rival("dear", 100, 0.0, 0.05)], 600, SETTINGS)
    assert (ruling.winner, ruling.verdict) == ("best", "ship")


def test_a_dearer_one_that_is_better_on_test_refutes_the_best_on_val() -> None:
    ruling = rule("best", 1, [rival("dear", 100, -0.05, 0.02)], 600, SETTINGS)
    assert (ruling.winner, ruling.verdict, ruling.refuting) == ("best", "not_enough_evidence", ["dear"])


def test_a_cheaper_one_that_is_better_on_test_is_simply_shipped() -> None:
    ruling = rule("best", 100, [rival("cheap", 1, -0.05, 0.02)], 600, SETTINGS)
    assert (ruling.winner, ruling.verdict, ruling.refuting) == ("cheap", "ship", [])


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_equal_predictions_ship_the_cheapest(margin: float) -> None:
    settings = SETTINGS.model_copy(update={"margin": margin})
    assert rule("best", 100, [rival("cheap", 1, 0.0, 0.0)], 600, settings).winner == "cheap"


def test_one_strategy_is_shipped() -> None:
    ruling = rule("only", 5, [], 600, SETTINGS)
    assert (ruling.winner, ruling.verdict) == ("only", "ship")


def test_significance_is_asked_for_after_holm() -> None:
    found = difference(0.03, 0.025)
    assert rule("best", 9, [Rival("cheap", 1, found, 0.06)], 600, SETTINGS).verdict == "not_enough_evidence"
    assert rule("best", 9, [Rival("cheap", 1, found, 0.04)], 600, SETTINGS).verdict == "ship"


@hypothesis_settings(deadline=None, max_examples=100)
@given(st.floats(-0.1, 0.1), st.floats(0.002, 0.2), st.integers(20, 5000))
def test_that_many_more_images_do_settle_it(value: float, half: float, images: int) -> None:
    """If the difference stays and its error shrinks with the root of the images."""
    before = rule("best", 9, [rival("cheap", 1, value, half)], images, SETTINGS)
    if before.verdict == "ship":
        return
    assert before.more_images is not None
    shrunk = half * (images / (images + before.more_images)) ** 0.5
    after = rule("best", 9, [rival("cheap", 1, value, shrunk * (1 - 1e-9))], images, SETTINGS)
    assert after.verdict == "ship"


def test_a_difference_in_the_middle_of_the_margin_takes_the_shorter_way() -> None:
    near_zero, near_margin = (images_to_settle(difference(value, 0.02), 600, 1, SETTINGS) for value in (0.001, 0.009))
    assert near_zero is not None
    assert near_margin is not None
    assert near_zero == pytest.approx(600 * ((0.02 / 0.009) ** 2 - 1), rel=0.05)
    assert near_margin == pytest.approx(600 * ((0.02 / 0.009) ** 2 - 1), rel=0.05)


def test_no_number_of_images_parts_equals_without_a_margin() -> None:
    settings = SETTINGS.model_copy(update={"margin": 0.0})
    assert images_to_settle(difference(0.0, 0.02), 600, 1, settings) is None
    assert rule("best", 9, [rival("cheap", 1, 0.0, 0.02)], 600, settings).more_images is None


def test_of_equal_scores_the_cheapest_is_best() -> None:
    assert cheapest_best({"a": 0.9, "b": 0.9, "c": 0.8}, {"a": 3, "b": 2, "c": 1}) == "b"
    assert cheapest_best({"a": 0.9, "b": 0.9}, {"a": 2, "b": 2}) == "a"
    assert cheapest_best({"a": 0.1 + 0.2, "b": 0.3}, {"a": 2, "b": 1}) == "b"
