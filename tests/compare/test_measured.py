"""Scores, and what each group weighs in them, against leaving it out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from meltpoint.arrays import Ints
from meltpoint.compare import intervals
from meltpoint.compare.influence import jackknife
from meltpoint.tasks.classification import paired as classification
from meltpoint.tasks.segmentation import paired as segmentation

METRICS = ["accuracy", "balanced_accuracy", "macro_f1", "quadratic_kappa", "log_loss", "roc_auc"]
CLASSES = ["a", "b", "c", "d"]


def draw(images: int, groups: int, seed: int = 0) -> Any:
    """Two predictors of four classes on images in groups, with ties among the probabilities."""
    rng = np.random.default_rng(seed)
    true, group = rng.integers(0, 4, images), np.sort(rng.integers(0, groups, images))
    group = np.unique(group, return_inverse=True)[1]
    probabilities = [rng.dirichlet(np.ones(4), images).round(2) + 0.01 for _ in range(2)]
    for own in probabilities:
        own[np.arange(images), true] += 0.4
    said = [own.argmax(1)[None] for own in probabilities]
    return classification.Answers(true, group, said, CLASSES, [own[None] for own in probabilities])


def score(metric: str, true: Ints, said: Ints, probabilities: NDArray[np.float64]) -> float:
    shares = probabilities / probabilities.sum(1, keepdims=True)
    scorers: dict[str, Callable[[], float]] = {
        "accuracy": lambda: reference.accuracy_score(true, said),
        "balanced_accuracy": lambda: reference.balanced_accuracy_score(true, said),
        "macro_f1": lambda: reference.f1_score(true, said, average="macro", labels=sorted(set(true))),
        "quadratic_kappa": lambda: reference.cohen_kappa_score(true, said, weights="quadratic", labels=range(4)),
        "log_loss": lambda: reference.log_loss(true, shares, labels=range(4)),
        "roc_auc": lambda: np.mean([reference.roc_auc_score(true == k, probabilities[:, k]) for k in range(4)]),
    }
    return float(scorers[metric]())


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_scikit_learn(metric: str) -> None:
    answers = draw(300, 300)
    found: Any = answers.measure(metric)
    for which in range(2):
        own = score(metric, answers.true, answers.predicted[which][0], answers.probabilities[which][0])
        assert found.scores[which] == pytest.approx(own)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "roc_auc"])
def test_influence_is_what_leaving_a_group_out_changes(metric: str) -> None:
    answers = draw(120, 30)
    found: Any = answers.measure(metric)
    for group in range(0, found.groups, 7):
        kept = answers.group != group
        for which in range(2):
            parts = answers.true[kept], answers.predicted[which][0][kept], answers.probabilities[which][0][kept]
            assert found.influence[which, group] == pytest.approx(found.scores[which] - score(metric, *parts), abs=1e-9)


def test_the_variance_of_an_area_is_delongs() -> None:
    """Sun and Xu, IEEE Signal Processing Letters 21 (2014): variances of the placements of both kinds of images."""
    rng = np.random.default_rng(3)
    true = np.repeat([0, 1], [120, 40])
    values = (rng.normal(true, 1.2)).round(1)
    probabilities = np.stack([1 - values, values], 1)[None]
    answers: Any = classification.Answers(true, np.arange(160), [true[None]], ["no", "yes"], [probabilities])
    positive, negative = values[true == 1], values[true == 0]
    beats = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    asked = beats.mean(1).var(ddof=1) / 40 + beats.mean(0).var(ddof=1) / 120
    variance, _ = jackknife(answers.measure("roc_auc").influence[0])
    assert variance == pytest.approx(asked, rel=0.03)


def test_masks_are_left_out_group_by_group() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 50, (1, 3, 40, 3))
    answers = segmentation.Answers([pixels], np.arange(40) // 2, ["x", "y", "z"])
    for metric in ("miou", "dice", "pixel_accuracy"):
        found: Any = answers.measure(metric)
        kept = segmentation.Answers([pixels[:, :, 2:]], np.arange(38) // 2, ["x", "y", "z"]).measure(metric)
        assert found.influence[0, 0] == pytest.approx(found.scores[0] - kept.scores[0])


def accuracy(images: int, gained: int, lost: int, group: int = 1) -> Any:
    """Two predictors that differ on so many images; `group` images after each other stand together."""
    first, second = np.zeros((2, 1, images), np.int64)
    second[0, :gained], first[0, gained : gained + lost] = 1, 1
    return classification.Answers(
        np.zeros(images, np.int64), np.arange(images) // group, [first, second], ["a", "b"]
    ).measure("accuracy")


def test_groups_that_fail_together_count_as_one() -> None:
    alone, together = accuracy(500, 40, 20), accuracy(500, 40, 20, group=5)
    one, five = (found.difference(0, 1, 0.95) for found in (alone, together))
    assert one.value == five.value
    wider = (five.interval.high - five.interval.low) / (one.interval.high - one.interval.low)
    assert wider == pytest.approx(5**0.5, rel=0.15)
    assert five.p_value > one.p_value


def test_no_difference_among_groups_is_as_sure_as_the_groups_are_many() -> None:
    found = accuracy(500, 0, 0, group=5)
    assert not found.shows(0, 1, 0.03, 0.05)
    assert found.shows(0, 1, 0.04, 0.05), "0.96 ** 100 * 2 < 0.05"


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy", "f1", "log_loss"])
def test_equal_answers_are_no_proof_for_any_metric(metric: str) -> None:
    true = np.arange(100) % 2
    probabilities = np.full((1, 100, 2), 0.5)
    answers: Any = classification.Answers(true, np.arange(100), [true[None]] * 2, ["a", "b"], [probabilities] * 2)
    found: Any = answers.measure(metric)
    difference: Any = found.difference(0, 1, 0.95)
    assert difference.value == 0
    assert difference.interval.high > 0.02
    assert not found.shows(0, 1, 0.01, 0.05)


@pytest.mark.parametrize(("images", "group", "told"), [(95, 5, "95 test images in 19 groups"), (4, 1, "4 test images")])
def test_too_few_groups_or_images_are_refused_by_any_metric(images: int, group: int, told: str) -> None:
    found = accuracy(images, 1, 1, group)
    assert found.refusal.startswith(told)
    assert found.difference(0, 1, 0.95) is None
    assert accuracy(images + group, 1, 1, group).refusal is None


def test_a_mean_over_rare_classes_is_refused_by_name() -> None:
    true = np.repeat([0, 1, 2], [200, 5, 0])
    answers: Any = classification.Answers(true, np.arange(205), [true[None]], ["common", "rare", "absent"])
    found: Any = answers.measure("macro_f1")
    assert found.interval(0, 0.95) is None
    assert "rare (5)" in found.refusal
    assert "absent" not in found.refusal, "a class without an image is left out of the mean"
    assert found.scores[0] == 1
    assert answers.measure("accuracy").refusal is None


def test_least_is_where_shows_ends() -> None:
    for found in (accuracy(400, 12, 9), accuracy(3000, 80, 70), draw(400, 80).measure("macro_f1")):
        least = found.least(0, 1, 0.05)
        assert found.shows(0, 1, -least + 6e-4, 0.05)
        assert least > 0 or not found.shows(0, 1, max(0.0, -least - 6e-4), 0.05)


def test_few_images_that_differ_are_left_to_the_exact_test() -> None:
    """Tango's statistic alone rules a loss of 2 points out too soon: one image that differs, among 100 to 400."""
    found = [accuracy(images, 0, 1) for images in range(100, 400)]
    asked = [
        (float(intervals.tango_statistic(1, 0, one.images, 0.02)), one.shows(0, 1, 0.02, 0.05), one.images)
        for one in found
    ]
    assert any(statistic < -1.645 and not shown for statistic, shown, _ in asked)
    assert all(
        shown == (statistic < -1.645 and intervals.exact_below(1, 0, images, 0.02) <= 0.05)
        for statistic, shown, images in asked
    )


@pytest.mark.parametrize("given", [1.0, 1 - 1e-9, 0.999, 0.9])
def test_the_interval_of_a_small_loss_has_an_end(given: float) -> None:
    chances, true = np.full((1, 200, 2), [given, 1 - given]), np.zeros(200, np.int64)
    answers: Any = classification.Answers(true, np.arange(200), [true[None]], ["a", "b"], [chances])
    interval: Any = answers.measure("log_loss").interval(0, 0.95)
    assert 0 <= interval.low < interval.high <= -np.log(0.005)


@pytest.mark.parametrize(
    ("metric", "classes"),
    [("f1", ["no", "yes"]), ("roc_auc", ["no", "yes"]), ("quadratic_kappa", ["x", "y", "z"])],
)
def test_without_an_image_of_what_is_looked_for_a_metric_decides_nothing(metric: str, classes: list[str]) -> None:
    true, chances = np.zeros(300, np.int64), [np.full((1, 300, len(classes)), 1 / len(classes))] * 2
    said = [np.where(np.arange(300) < 30, len(classes) - 1, 0)[None], true[None]]
    found = classification.Answers(true, np.arange(300), said, classes, chances).measure(metric)
    assert found.refusal is not None
    assert found.interval(0, 0.95) is None
    assert found.difference(0, 1, 0.95) is None
    assert not found.shows(0, 1, 0.05, 0.05)


@pytest.mark.parametrize("images", [60, 300])
def test_all_right_against_all_wrong_in_twenty_groups(images: int) -> None:
    found = accuracy(images, images, 0, images // 20)
    assert found.shows(0, 1, 0.01, 0.05)
    assert not found.shows(1, 0, 0.01, 0.05)


def test_differences_of_kappa_reach_to_2() -> None:
    true = np.arange(200) % 2
    found: Any = classification.Answers(true, np.arange(200), [true[None], 1 - true[None]], ["a", "b"]).measure(
        "quadratic_kappa"
    )
    difference: Any = found.difference(0, 1, 0.95)
    assert difference.interval.low <= difference.value == 2 <= difference.interval.high
    interval: Any = found.interval(0, 0.95)
    assert 0.8 < interval.low < interval.high == 1
