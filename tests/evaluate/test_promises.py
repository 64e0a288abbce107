"""A small seeded part of benchmarks/deciding.py: the rule and the intervals err as rarely as they say."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import deciding

DRAWS = 100
MOST = 0.05 + 3 * (0.05 * 0.95 / DRAWS) ** 0.5  # three standard errors of the count of so many draws above 5%


@pytest.mark.parametrize(
    ("count", "title", "images"),
    [
        (2, "the cheapest 2 points worse", 655),
        (2, "the cheapest 2 points worse", 2000),
        (6, "all but the dearest 1 point worse", 655),
    ],
)
def test_what_loses_the_margin_is_seldom_shipped(count: int, title: str, images: int) -> None:
    _, wrong = deciding._ships(np.random.default_rng(images), images, deciding.SCENARIOS[title](count), DRAWS)
    assert wrong <= MOST


@pytest.mark.parametrize(("images", "least"), [(2000, 0.9)])
def test_what_is_better_is_shipped_where_there_is_evidence(images: int, least: float) -> None:
    truth = deciding.SCENARIOS["the cheapest 2 points worse"](2)
    shipped, _ = deciding._ships(np.random.default_rng(images), images, truth, DRAWS)
    assert shipped >= least


def test_equal_answers_of_a_few_images_ship_nothing() -> None:
    shipped, _ = deciding._ships(np.random.default_rng(0), 5, [0.9999, 0.9999], 20)
    assert shipped == 0


def test_groups_of_images_that_fail_together_are_not_taken_for_many() -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(150):
        measured = deciding.draw(rng, 655, [0.9, 0.9], size=5, alike=0.7).measure("accuracy")
        difference = measured.difference(0, 1, 0.95)
        assert difference is not None
        found.append((difference.interval.low <= 0 <= difference.interval.high, difference.p_value < 0.05))
    holds, different = np.mean(found, axis=0)
    assert holds > 0.9
    assert different < 0.1


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_rare_classes_do_not_narrow_an_interval(metric: deciding.Metric) -> None:
    world = deciding.World(np.random.default_rng(2), 10, 10, 0.85)
    refused, score, difference = deciding._covers(world, metric, 500, 100)
    assert refused < 0.9
    assert min(score, difference) > 0.88


def test_82_classes_on_657_images_are_refused() -> None:
    world = deciding.World(np.random.default_rng(3), 82, 50, 0.7)
    refused, _, _ = deciding._covers(world, "macro_f1", 657, 10)
    assert refused == 1


@pytest.mark.parametrize("shown", [1.0, 0.5])
def test_twenty_masks_are_told_for_what_they_are(shown: float) -> None:
    score, difference = deciding._covers_masks(np.random.default_rng(4), 20, shown, 200)
    assert min(score, difference) > 0.88


def test_a_slow_descent_ends_at_the_margin() -> None:
    _, lost = deciding._descend(np.random.default_rng(5), anchored=True)
    _, without = deciding._descend(np.random.default_rng(5), anchored=False)
    assert lost < 0.025
    assert without > 0.05
