"""A small seeded part of benchmarks/deciding.py: the rule, the intervals and the gate err as rarely as they say."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from meltpoint.metrics import least_probability
from meltpoint.tasks.classification.paired import Answers

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import deciding
from worlds import World, draw, make_groups

DRAWS = 100
MOST = 0.05 + 3 * (0.05 * 0.95 / DRAWS) ** 0.5  # three standard errors of the count of so many draws above 5%


@pytest.mark.parametrize(
    ("count", "title", "images"),
    [
        (2, "the cheapest 2 points worse", 655),
        (2, "the cheapest 2 points worse", 2000),
        (3, "all but the dearest 1 point worse", 2000),
        (6, "all but the dearest 1 point worse", 655),
    ],
)
def test_what_loses_the_margin_is_seldom_shipped(count: int, title: str, images: int) -> None:
    _, wrong, _ = deciding.ships(np.random.default_rng(images), images, deciding.SCENARIOS[title](count), DRAWS)
    assert wrong <= MOST


def test_what_is_better_is_shipped_as_often_as_tangos_tests_would() -> None:
    truth = deciding.SCENARIOS["the cheapest 2 points worse"](2)
    shipped, _, tango = deciding.ships(np.random.default_rng(0), 2000, truth, DRAWS)
    assert shipped >= max(0.9, tango - 0.05)


def test_equal_answers_of_a_few_images_ship_nothing() -> None:
    shipped, _, _ = deciding.ships(np.random.default_rng(0), 5, [0.9999, 0.9999], 20)
    assert shipped == 0


def test_groups_of_images_that_fail_together_are_not_taken_for_many() -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(150):
        measured = draw(rng, 655, [0.9, 0.9], np.arange(655) // 5, alike=0.7).measure("accuracy")
        difference: Any = measured.difference(0, 1, 0.95)
        found.append((difference.interval.low <= 0 <= difference.interval.high, difference.p_value < 0.05))
    holds, different = np.mean(found, axis=0)
    assert holds > 0.9
    assert different < 0.1


def test_a_few_large_groups_are_taken_for_few() -> None:
    rng, shown = np.random.default_rng(2), 0
    for _ in range(DRAWS):
        group = make_groups(rng, 2000, 100, 2.0)
        shown += draw(rng, 2000, [0.88, 0.9], group, alike=0.7).measure("accuracy").shows(0, 1, 0.02, 0.05)
    assert shown / DRAWS <= MOST / 2, "13% where each group counts as much as any other"


def test_a_group_that_fails_as_a_whole_may_be_there_though_none_did() -> None:
    """One of twenty-five groups fails, and one image in a hundred of any: the loss is the margin."""
    rng, group, shown = np.random.default_rng(8), np.arange(2000) // 50, 0
    for _ in range(DRAWS):
        fails = (rng.random(40) < 0.04)[group] | (rng.random(2000) < 0.01)
        said = [fails.astype(np.int64)[None], (rng.random(2000) < 0.01).astype(np.int64)[None]]
        measured = Answers(np.zeros(2000, np.int64), group, said, ["right", "wrong"]).measure("accuracy")
        shown += measured.shows(0, 1, 0.04 * 0.99, 0.05)
    assert shown / DRAWS <= MOST, "19% where only the groups that failed count"


def test_kappa_reckons_with_classes_that_hardly_occur() -> None:
    rng, shown = np.random.default_rng(9), 0
    truth = np.array([0.02, 0.96, 0.02])

    def draw_kappa(images: int) -> Answers:
        true = rng.choice(3, images, p=truth)
        wrong = rng.random(images) < 0.003
        said = [np.where(wrong, (true + 2) % 3, true)[None], true[None]]
        return Answers(true, np.arange(images), said, ["low", "middle", "high"])

    whole = draw_kappa(400_000).measure("quadratic_kappa")
    loss = float(whole.scores[1] - whole.scores[0])
    for _ in range(DRAWS):
        shown += draw_kappa(200).measure("quadratic_kappa").shows(0, 1, loss, 0.05)
    assert shown / DRAWS <= MOST, "half of all where each image counts alike"


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_rare_classes_do_not_narrow_an_interval(metric: deciding.Metric) -> None:
    world = World(np.random.default_rng(2), 10, 10, 0.85)
    refused, score, difference, false = deciding.covers(world, metric, 500, DRAWS)
    assert refused < 0.9
    assert min(score, difference) > 0.88
    assert false <= MOST


@pytest.mark.parametrize("positive", [0.985, 0.015])
def test_an_area_is_as_sure_as_its_rarer_side_is_large(positive: float) -> None:
    """Areas of 97% and 99%, so that a loss of 2 points is falsely ruled out wherever it is."""
    rng, areas, found = np.random.default_rng(1), (0.97, 0.99), []
    for _ in range(2 * DRAWS):
        true = (rng.random(655) < positive).astype(np.int64)
        values = [rng.standard_normal(655) + norm.ppf(area) * 2**0.5 * true for area in areas]
        chances = [np.stack([1 - own, own], 1)[None] for own in (1 / (1 + np.exp(-np.array(values))))]
        measured = Answers(true, np.arange(655), [true[None]] * 2, ["no", "yes"], chances).measure("roc_auc")
        if measured.refusal is None:
            found.append(measured.shows(0, 1, 0.02, 0.05))
    assert len(found) > DRAWS
    assert np.mean(found) <= MOST


def test_answers_that_are_seldom_but_surely_wrong_are_reckoned_with() -> None:
    """One in a thousand costs more than the margin, and half of all sets of test images hold none."""
    rng, shown = np.random.default_rng(3), 0
    loss = 0.001 * np.log(0.95 / least_probability(2))
    for _ in range(DRAWS):
        true, given = np.zeros(655, np.int64), np.full((2, 655), 0.95)
        given[0, rng.random(655) < 0.001] = 1e-16
        chances = [np.stack([own, 1 - own], 1)[None] for own in given]
        measured = Answers(true, np.arange(655), [true[None]] * 2, ["a", "b"], chances).measure("log_loss")
        shown += measured.shows(0, 1, loss, 0.05)
    assert shown / DRAWS <= MOST


def test_82_classes_on_657_images_are_refused() -> None:
    world = World(np.random.default_rng(3), 82, 50, 0.7)
    refused, *_ = deciding.covers(world, "macro_f1", 657, 10)
    assert refused == 1


@pytest.mark.parametrize("shown", [1.0, 0.5])
def test_twenty_masks_are_told_for_what_they_are(shown: float) -> None:
    score, difference, _ = deciding.covers_masks(np.random.default_rng(4), 20, shown, 200)
    assert min(score, difference) > 0.88


def test_seeds_are_in_the_interval_where_there_are_several() -> None:
    held = {
        trainings: np.mean([deciding.holds_seeds(rng, 2000, list(trainings)) for _ in range(DRAWS)])
        for trainings, rng in ((own, np.random.default_rng(6)) for own in ((1, 1), (5, 5), (1, 5)))
    }
    assert min(held[5, 5], held[1, 5]) > 0.88
    assert held[1, 1] < 0.9, "one training each says nothing of the next"


def test_the_error_is_that_of_seeds_and_images_drawn_again() -> None:
    rng = np.random.default_rng(8)
    answers = draw(rng, 2000, [0.9, 0.9], trainings=[6, 6])
    right = [said == answers.true for said in answers.predicted]  # (6, 2000) each
    again: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(1000):
        images = rng.integers(2000, size=2000)
        for seeds, found in again.items():
            drawn = [own[rng.integers(6, size=6)] if seeds else own for own in right]
            found.append(float(drawn[0][:, images].mean() - drawn[1][:, images].mean()))
    both, images_alone = np.std(again[True]), np.std(again[False])
    difference = answers.measure("accuracy").difference(0, 1, 0.95)
    assert difference is not None
    assert 0.9 < difference.standard_error / both < 1.2
    assert images_alone < 0.8 * both


def test_strategies_that_were_trained_once_spread_as_the_others() -> None:
    held = []
    for seed in range(DRAWS):
        answers = draw(np.random.default_rng(seed), 10_000, [0.9] * 3, trainings=[5, 1, 1])
        difference: Any = answers.measure("accuracy").difference(1, 2, 0.95)
        held.append(difference.interval.low <= 0 <= difference.interval.high)
    assert np.mean(held) > 0.85, "39% without a word of the seeds"


def test_two_seeds_tell_little_of_their_spread() -> None:
    held = np.mean([deciding.holds_seeds(np.random.default_rng(seed), 10_000, [2, 2]) for seed in range(2 * DRAWS)])
    assert held > 0.93, "88% where as many degrees of freedom are counted as there are images"


def test_the_best_of_many_is_held_to_more_by_the_gate() -> None:
    rng = np.random.default_rng(7)
    passed = np.mean([deciding.becomes_champion(rng, -0.03, 0.03, 655, 6) for _ in range(2 * DRAWS)])
    assert passed <= MOST, "16% where the choice before it is not counted"


@pytest.mark.parametrize("images", [655, 10_000])
def test_a_slow_descent_ends_at_the_margin(images: int) -> None:
    lost = np.mean([deciding.descend(np.random.default_rng(seed), images, anchored=True)[1] for seed in range(8)])
    without = np.mean([deciding.descend(np.random.default_rng(seed), images, anchored=False)[1] for seed in range(8)])
    assert lost < 0.022
    assert without > lost + 0.005
