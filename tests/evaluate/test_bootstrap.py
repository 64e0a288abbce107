from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from meltpoint.evaluate import bootstrap
from meltpoint.evaluate.bootstrap import bootstrap_p, count_outcomes, holm, mcnemar, resample, resample_masks
from meltpoint.metrics import confusion, from_confusion, from_pixels
from meltpoint.params.judging import PIXEL_METRICS, Metric

METRICS: tuple[str, ...] = tuple(name for name in get_args(Metric) if name not in PIXEL_METRICS)
Ints = NDArray[np.int64]


def answers(rng: np.random.Generator, images: int, classes: int, *errors: float) -> tuple[Ints, Ints]:
    true = rng.integers(0, classes, images)
    wrong = [rng.random(images) < share for share in errors]
    said = [np.where(slips, rng.integers(0, classes, images), true) for slips in wrong]
    return true, np.stack(said)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 7])
def test_scores_are_those_of_the_metrics(metric: str, classes: int) -> None:
    true, said = answers(np.random.default_rng(0), 300, classes, 0.1, 0.3)
    found = resample(true, said, classes, metric, 100, 0)
    expected = [float(from_confusion(confusion(true, row, classes))[metric]) for row in said]
    assert found.scores == pytest.approx(expected)
    assert found.images == 300


@pytest.mark.parametrize("metric", METRICS)
def test_resampling_outcomes_is_resampling_images(metric: str) -> None:
    """The same mean and spread as the slow way, image by image."""
    rng = np.random.default_rng(5)
    true, said = answers(rng, 120, 4, 0.2, 0.35)
    quick = resample(true, said, 4, metric, 4000, 1).resampled
    rows = rng.integers(0, 120, (1500, 120))
    slow = [[from_confusion(confusion(true[pick], row[pick], 4))[metric] for row in said] for pick in rows]
    quick, slow = quick[0] - quick[1], np.subtract(*np.array(slow).T)
    assert quick.mean() == pytest.approx(slow.mean(), abs=4 * slow.std() / np.sqrt(1500))
    assert quick.std() == pytest.approx(slow.std(), rel=0.1)


@pytest.mark.parametrize("metric", METRICS)
def test_the_jackknife_leaves_one_image_out(metric: str) -> None:
    true, said = answers(np.random.default_rng(2), 25, 3, 0.3)
    found = resample(true, said, 3, metric, 100, 0)
    expected = []
    for image in range(25):
        kept = np.arange(25) != image
        expected.append(from_confusion(confusion(true[kept], said[0][kept], 3))[metric])
    left_out = np.repeat(found.jackknife[0], found.counts)
    assert sorted(left_out) == pytest.approx(sorted(float(value) for value in expected))


def test_every_resample_has_every_image_once_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rare outcomes are thrown together, frequent ones drawn one by one; chunks end anywhere."""
    monkeypatch.setattr(bootstrap, "CHUNK", 64)
    counts = np.array([1, 1, 1, 2, 2, 9, 40, 300])
    drawn = np.hstack(list(bootstrap._draw(counts, 3000, np.random.default_rng(0))))
    assert drawn.shape == (8, 3000)
    assert (drawn.sum(0) == counts.sum()).all()
    share = counts / counts.sum()
    error = np.sqrt(counts.sum() * share * (1 - share) / 3000)
    assert (np.abs(drawn.mean(1) - counts) < 5 * error).all()
    assert drawn.var(1) == pytest.approx(counts * (1 - share), rel=0.15)


def test_a_seed_gives_the_same_again() -> None:
    true, said = answers(np.random.default_rng(0), 200, 5, 0.1, 0.2)
    first, again, other = (resample(true, said, 5, "macro_f1", 50, seed).resampled for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("metric", METRICS)
def test_equal_predictions_differ_by_nothing(metric: str) -> None:
    true, said = answers(np.random.default_rng(0), 100, 3, 0.2)
    found = resample(true, np.vstack([said, said]), 3, metric, 200, 0).difference(0, 1, 0.95)
    assert (found.value, found.interval.low, found.interval.high) == (0, 0, 0)
    assert (found.standard_error, found.p_value) == (0, 1)


@pytest.mark.parametrize("metric", METRICS)
def test_a_difference_turned_round_changes_its_sign(metric: str) -> None:
    true, said = answers(np.random.default_rng(3), 400, 3, 0.1, 0.25)
    found = resample(true, said, 3, metric, 2000, 0)
    there, back = found.difference(0, 1, 0.95), found.difference(1, 0, 0.95)
    assert there.value == -back.value
    assert there.p_value == back.p_value
    assert there.interval.low == pytest.approx(-back.interval.high, abs=2e-3)
    assert there.interval.low < there.value < there.interval.high


def test_a_perfect_score_is_not_certain() -> None:
    true = np.zeros(50, dtype=np.int64)
    interval = resample(true, true[None], 2, "accuracy", 100, 0).interval(0, 0.95)
    assert interval.high == pytest.approx(1)
    assert 0.9 < interval.low < 0.95


def test_mcnemar_counts_images_that_one_alone_gets_right() -> None:
    true = np.zeros(20, dtype=np.int64)
    first, second = np.zeros(20, dtype=np.int64), np.zeros(20, dtype=np.int64)
    first[:2], second[5:14] = 1, 1
    outcomes = count_outcomes(true, np.stack([first, second]), 2, "accuracy")
    assert mcnemar(outcomes, 0, 1) == pytest.approx(binomtest(9, 11).pvalue)


def test_bootstrap_p_is_small_only_for_a_difference() -> None:
    rng = np.random.default_rng(0)
    assert bootstrap_p(rng.normal(0.1, 0.01, 999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(rng.normal(0, 0.01, 999)) > 0.5
    assert bootstrap_p(np.zeros(999)) == 1


def test_holm_follows_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lowers_nothing(values: list[float]) -> None:
    adjusted = np.array(holm(values))
    assert (adjusted >= values).all()
    assert (adjusted <= 1).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "classes"), [("accuracy", 2), ("f1", 2), ("macro_f1", 4), ("quadratic_kappa", 4)])
def test_intervals_cover_the_truth_as_often_as_they_say(metric: str, classes: int) -> None:
    """Of 2,000 data sets 93 to 97% of the 95% intervals hold the true difference, and the true score."""
    large = answers(np.random.default_rng(99), 2_000_000, classes, 0.2, 0.3)
    scores = [float(from_confusion(confusion(large[0], row, classes))[metric]) for row in large[1]]
    truth, held = scores[0] - scores[1], np.zeros(2)
    for seed in range(2000):
        true, said = answers(np.random.default_rng(seed), 300, classes, 0.2, 0.3)
        found = resample(true, said, classes, metric, 600, seed)
        gap, alone = found.difference(0, 1, 0.95).interval, found.interval(0, 0.95)
        held += gap.low <= truth <= gap.high, alone.low <= scores[0] <= alone.high
    assert (held >= 0.93 * 2000).all()
    assert (held <= 0.97 * 2000).all()


def pixels(rng: np.random.Generator, images: int, *errors: float) -> Ints:
    """tp, fp and fn (K, 3, N, C) of three classes, the last in few images; images differ in size and in difficulty."""
    true = rng.multinomial(400, [0.6, 0.3, 0.1], images) * (rng.random((images, 3)) < [1, 0.8, 0.3])
    shares = [np.clip(share * rng.uniform(0, 2, (images, 1)), 0, 1) for share in errors]
    missed = [rng.binomial(true, np.broadcast_to(share, true.shape)) for share in shares]
    return np.stack([np.stack([true - fn, np.roll(fn, 1, -1), fn]) for fn in missed])


@pytest.mark.parametrize("metric", PIXEL_METRICS)
def test_masks_are_scored_and_left_out_image_by_image(metric: str) -> None:
    counts = pixels(np.random.default_rng(0), 15, 0.2, 0.4)
    found = resample_masks(counts, metric, 100, 0)
    assert found.images == 15
    for own, score, jackknife in zip(counts, found.scores, found.jackknife, strict=True):
        assert score == pytest.approx(float(from_pixels(*own.sum(1))[metric]))
        left = [float(from_pixels(*np.delete(own, image, 1).sum(1))[metric]) for image in range(15)]
        assert jackknife == pytest.approx(left)


@pytest.mark.parametrize("metric", PIXEL_METRICS)
def test_resampling_masks_is_resampling_images(metric: str) -> None:
    rng = np.random.default_rng(5)
    counts = pixels(rng, 40, 0.2, 0.3)
    found = resample_masks(counts, metric, 4000, 1)
    rows = rng.integers(0, 40, (1500, 40))
    slow = np.array([[float(from_pixels(*own[:, pick].sum(1))[metric]) for own in counts] for pick in rows])
    gaps, slow = found.resampled[0] - found.resampled[1], slow[:, 0] - slow[:, 1]
    assert gaps.mean() == pytest.approx(slow.mean(), abs=5 * slow.std() / np.sqrt(1500))
    assert gaps.std() == pytest.approx(slow.std(), rel=0.1)
    there, back = found.difference(0, 1, 0.95), found.difference(1, 0, 0.95)
    assert there.value == -back.value
    assert there.p_value == back.p_value


def test_equal_masks_differ_by_nothing() -> None:
    counts = pixels(np.random.default_rng(0), 30, 0.2)
    found = resample_masks(np.vstack([counts, counts]), "miou", 200, 0).difference(0, 1, 0.95)
    assert (found.value, found.interval.low, found.interval.high) == (0, 0, 0)
    assert (found.standard_error, found.p_value) == (0, 1)


@pytest.mark.slow
def test_intervals_of_masks_cover_the_truth_as_often_as_they_say() -> None:
    large = pixels(np.random.default_rng(99), 200_000, 0.2, 0.25)
    scores = [float(from_pixels(*own.sum(1))["miou"]) for own in large]
    truth, held = scores[0] - scores[1], 0
    for seed in range(1000):
        counts = pixels(np.random.default_rng(seed), 80, 0.2, 0.25)
        interval = resample_masks(counts, "miou", 500, seed).difference(0, 1, 0.95).interval
        held += interval.low <= truth <= interval.high
    assert 930 <= held <= 970
