"""The rule, by hand; how often it errs is in test_promises.py."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meltpoint.compare.measured import Measured
from meltpoint.compare.verdict import cheapest_best, images_needed, round_up, rule
from meltpoint.params.judging import Compare
from meltpoint.tasks.classification.paired import Answers

SETTINGS = Compare(metric="accuracy", margin=0.01, confidence=0.95, cost="train_seconds")


def measure(images: int, wrong: Sequence[range]) -> Measured:
    """The accuracy of predictors that have these images wrong."""
    said = np.zeros((len(wrong), 1, images), np.int64)
    for own, where in zip(said, wrong, strict=True):
        own[0, where.start : where.stop] = 1
    return Answers(np.zeros(images, np.int64), np.arange(images), list(said), ["a", "b"]).measure("accuracy")


def costs(*names: str) -> dict[str, float]:
    return {name: float(number) for number, name in enumerate(names, start=1)}


def test_what_is_shown_better_is_shipped_though_it_is_dearer() -> None:
    found = measure(2000, [range(200), range(100)])
    ruling = rule(["cheap", "dear"], found, "cheap", costs("cheap", "dear"), SETTINGS)
    assert (ruling.winner, ruling.verdict, ruling.needed) == ("dear", "ship", None)
    assert ruling.standings == {"cheap": "worse", "dear": "ship"}


def test_the_cheapest_that_loses_less_than_the_margin_is_shipped() -> None:
    found = measure(20_000, [range(1000), range(20, 1010), range(0, 4000)])
    ruling = rule(["cheap", "dear", "poor"], found, "dear", {"cheap": 2, "dear": 3, "poor": 1}, SETTINGS)
    assert (ruling.winner, ruling.verdict) == ("cheap", "ship")
    assert ruling.standings == {"cheap": "ship", "dear": "as good", "poor": "worse"}


def test_the_best_on_val_is_not_shipped_without_evidence_of_test_however_cheap() -> None:
    found = measure(655, [range(70), range(30, 100)])
    ruling = rule(["cheap", "dear"], found, "cheap", costs("cheap", "dear"), SETTINGS)
    assert (ruling.winner, ruling.verdict) == ("cheap", "not_enough_evidence")
    assert ruling.standings == {"cheap": "leads", "dear": "open"}
    assert ruling.needed is not None


@pytest.mark.parametrize(("images", "verdict"), [(367, "not_enough_evidence"), (368, "ship")])
def test_equal_answers_are_no_proof_on_few_images(images: int, verdict: str) -> None:
    """If 1 point of all images were different, 368 images without one would come with a chance of 2.5%."""
    found = measure(images, [range(5), range(5)])
    ruling = rule(["cheap", "dear"], found, "dear", costs("cheap", "dear"), SETTINGS)
    assert (ruling.winner, ruling.verdict) == ("cheap" if verdict == "ship" else "dear", verdict)


def test_more_strategies_ask_for_more_evidence() -> None:
    """What is enough against one is not against eleven with mistakes of their own."""
    wrong = [range(0, 62), *(range(150 + 62 * k, 212 + 62 * k) for k in range(11))]
    few, many = measure(2500, wrong[:2]), measure(2500, wrong)
    names = [f"s{number}" for number in range(12)]
    assert rule(names[:2], few, "s0", costs(*names[:2]), SETTINGS).verdict == "ship"
    assert rule(names, many, "s0", costs(*names), SETTINGS).verdict == "not_enough_evidence"


def test_one_strategy_is_shipped() -> None:
    ruling = rule(["only"], measure(20, [range(2)]), "only", {"only": 1.0}, SETTINGS)
    assert (ruling.winner, ruling.verdict, ruling.standings) == ("only", "ship", {"only": "ship"})


def test_of_equal_costs_the_best_on_val_comes_first() -> None:
    found = measure(20_000, [range(1000), range(20, 1010)])
    for leader in ("one", "two"):
        assert rule(["one", "two"], found, leader, {"one": 1, "two": 1}, SETTINGS).winner == leader


def test_a_metric_that_cannot_decide_says_why_and_ships_nothing() -> None:
    true = np.repeat([0, 1], [300, 3])
    answers = Answers(true, np.arange(303), [true[None], true[None]], ["intact", "broken"])
    ruling = rule(["a", "b"], answers.measure("macro_f1"), "b", costs("a", "b"), SETTINGS)
    assert (ruling.winner, ruling.verdict, ruling.needed) == ("b", "not_enough_evidence", None)
    assert ruling.refusal == (
        "macro F1 cannot decide, because 1 class has fewer than 6 images or groups: broken (3); accuracy and log "
        "loss can"
    )


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(200, 3000))
def test_an_open_verdict_says_how_many_images_would_settle_it(gained: int, lost: int, images: int) -> None:
    found = measure(images, [range(lost), range(lost, lost + gained)])
    ruling = rule(["a", "b"], found, "a", costs("a", "b"), SETTINGS)
    assert (ruling.verdict == "ship") == (ruling.needed is None)
    if ruling.needed is not None:
        assert 1 <= ruling.needed.low <= ruling.needed.high


def test_the_images_asked_for_settle_it_four_times_of_five() -> None:
    """A gain of 2.29 standard errors is shown by 1.18 times the images; half power would ask for few more."""
    found = measure(100_000, [range(1000), range(1000, 1900)])
    needed: Any = images_needed(found, [0.05, 0.05], 0.0)
    assert needed.low == 1
    assert needed.high == pytest.approx(100_000 * ((1.645 + 0.842) / (2.29 - 0.674)) ** 2 - 100_000, rel=0.15)


def test_images_do_not_settle_what_seeds_leave_open() -> None:
    """Trainings that spread by four points: of the recipe a point is not known, however many images there are."""
    rng = np.random.default_rng(0)
    said = [np.stack([(rng.random(10_000) < share).astype(np.int64) for share in (0.06, 0.10, 0.14)]) for _ in range(2)]
    found = Answers(np.zeros(10_000, np.int64), np.arange(10_000), said, ["a", "b"]).measure("accuracy")
    images, seeds = found.variances(0, 1)
    assert seeds > 10 * images
    assert images_needed(found, [0.05, 0.05], 0.01) is None


def test_no_number_of_images_parts_equals_without_a_margin() -> None:
    found = measure(600, [range(30), range(30, 60)])
    needed = images_needed(found, [0.05, 0.05], 0.0)
    assert needed is None or needed.high > 20 * 600


def test_numbers_are_told_by_two_digits() -> None:
    assert [round_up(number) for number in (0.2, 7, 12.3, 1234, 99_001)] == [1, 7, 13, 1300, 100_000]


def test_of_equal_scores_the_cheapest_is_best() -> None:
    assert cheapest_best({"a": 0.9, "b": 0.9, "c": 0.8}, {"a": 3, "b": 2, "c": 1}) == "b"
    assert cheapest_best({"a": 0.9, "b": 0.9}, {"a": 2, "b": 2}) == "a"
    assert cheapest_best({"a": 0.1 + 0.2, "b": 0.3}, {"a": 2, "b": 1}) == "b"
