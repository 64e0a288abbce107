"""How sure a score is, and a difference of two: a bootstrap over shared images, and exact McNemar.

Images are never resampled one by one. All that matters of an image is its outcome: the true class, and what each
predictor said; or of a mask, how many pixels of each class were met and missed. Resampling images is drawing from a
multinomial over the outcomes that occur.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import binomtest, norm

from meltpoint.metrics import from_margins, from_pixels

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Scorer = Callable[[Floats], Floats]  # counts (M, R) of outcomes -> each predictor's metric (K, R)

CHUNK = 100_000  # counts held at once: they stay in the processor's cache
FEW = 8  # images of an outcome, up to which throwing them one by one is quicker than a binomial draw


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One predictor's score minus another's on the same images; `p_value` is two-sided, of no difference."""

    value: float
    interval: Interval
    standard_error: float
    p_value: float


@dataclass(frozen=True)
class Outcomes:
    """The outcomes that occur: `true` (M,) and `predicted` (K, M) class ids, and `counts` (M,) of images."""

    true: Ints
    predicted: Ints
    counts: Ints
    n_classes: int


@dataclass(frozen=True)
class Bootstrap:
    """A metric of K predictors: `scores` (K,), `resampled` (K, R), `jackknife` (K, M) less one image of an outcome.

    `counts` (M,) are the images of each outcome; `outcomes` are None of masks, each of which is an outcome of its own.
    """

    metric: str
    counts: Ints
    outcomes: Outcomes | None
    scores: Floats
    resampled: Floats
    jackknife: Floats

    @property
    def images(self) -> int:
        """How many images the scores are of."""
        return int(self.counts.sum())

    def interval(self, which: int, confidence: float) -> Interval:
        """Of one predictor's score: Wilson's for accuracy, which is honest at 100% too, otherwise the bootstrap's."""
        if self.metric == "accuracy":
            right = round(float(self.scores[which]) * self.images)
            found = binomtest(right, self.images).proportion_ci(confidence, method="wilson")
            return Interval(float(found.low), float(found.high))
        rows = self.scores[which], self.resampled[which], self.jackknife[which]
        return bca(*rows, self.counts, confidence)

    def difference(self, first: int, second: int, confidence: float) -> Difference:
        """The first predictor's score minus the second's."""
        value, resampled, jackknife = (
            rows[first] - rows[second] for rows in (self.scores, self.resampled, self.jackknife)
        )
        exact = self.outcomes if self.metric == "accuracy" else None
        return Difference(
            value=float(value),
            interval=bca(float(value), resampled, jackknife, self.counts, confidence),
            standard_error=float(resampled.std()),
            p_value=mcnemar(exact, first, second) if exact else bootstrap_p(resampled),
        )


def resample(true: Ints, predicted: Ints, n_classes: int, metric: str, resamples: int, seed: int) -> Bootstrap:
    """Score K predictors (K, N) on the same N >= 1 labelled images, and again on `resamples` resamples of them.

    `metric` is a key of `metrics.from_margins`. The same resamples serve every predictor, so differences are paired.
    """
    outcomes = count_outcomes(true, predicted, n_classes, metric)
    return _bootstrap(metric, outcomes.counts, outcomes, _scorer(outcomes, metric), resamples, seed)


def resample_masks(pixels: Ints, metric: str, resamples: int, seed: int) -> Bootstrap:
    """The same of K predictors of masks, from pixels (K, 3, N, C) that are tp, fp and fn of N >= 1 images.

    `metric` is a key of `metrics.from_pixels`. Images are resampled, for the pixels of one image are no independent
    evidence; their counts are added up before anything is divided.
    """
    counts = np.ones(pixels.shape[2], np.int64)
    return _bootstrap(metric, counts, None, _mask_scorer(pixels, metric), resamples, seed)


def _bootstrap(
    metric: str, counts: Ints, outcomes: Outcomes | None, score: Scorer, resamples: int, seed: int
) -> Bootstrap:
    return Bootstrap(
        metric=metric,
        counts=counts,
        outcomes=outcomes,
        scores=score(counts[:, None].astype(np.float64))[:, 0],
        resampled=np.hstack([score(drawn) for drawn in _draw(counts, resamples, np.random.default_rng(seed))]),
        jackknife=np.hstack([score(left) for left in _leave_one_out(counts)]),
    )


def count_outcomes(true: Ints, predicted: Ints, n_classes: int, metric: str) -> Outcomes:
    """Gather equal images. Where a metric asks for no more than right or wrong, few outcomes are left."""
    if metric == "accuracy":
        true, predicted, n_classes = np.zeros_like(true), (predicted != true).astype(np.int64), 2
    if metric == "balanced_accuracy":  # every wrong prediction becomes one more class, which is never true
        predicted, n_classes = np.where(predicted == true, true, n_classes), n_classes + 1
    cells, counts = np.unique(np.vstack([true, predicted]), axis=1, return_counts=True)
    return Outcomes(cells[0], cells[1:], counts.astype(np.int64), n_classes)


def bca(value: float, resampled: Floats, jackknife: Floats, counts: Ints, confidence: float) -> Interval:
    """The bias-corrected and accelerated interval: Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987).

    `resampled` (R,) are scores of resamples, `jackknife` (M,) scores without one image, for `counts` (M,) images each.
    """
    ties = np.isclose(resampled, value, rtol=0, atol=1e-12)
    below = float(((resampled < value) & ~ties).mean() + ties.mean() / 2)
    bias = norm.ppf(np.clip(below, 0.5 / resampled.size, 1 - 0.5 / resampled.size))
    spread = np.average(jackknife, weights=counts) - jackknife
    variance = float((counts * spread**2).sum())
    acceleration = float((counts * spread**3).sum()) / (6 * variance**1.5) if variance > 1e-18 else 0.0
    z = bias + norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(resampled, norm.cdf(bias + z / (1 - acceleration * z)))
    return Interval(float(low), float(high))


def mcnemar(outcomes: Outcomes, first: int, second: int) -> float:
    """The exact two-sided p-value of McNemar's test: are images that one alone gets right as often the other's?"""
    right = outcomes.predicted == outcomes.true
    gained = int(outcomes.counts[right[first] & ~right[second]].sum())
    lost = int(outcomes.counts[right[second] & ~right[first]].sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def bootstrap_p(differences: Floats) -> float:
    """The two-sided p-value of no difference from resampled differences (R,); never 0, as R is finite."""
    positive, negative = (differences > 1e-12).sum(), (differences < -1e-12).sum()
    smaller = differences.size - max(int(positive), int(negative))
    return min(1.0, 2 * (smaller + 1) / (differences.size + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: Holm, Scandinavian Journal of Statistics 6 (1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)), 1)
    return [float(value) for value in adjusted]


def _draw(counts: Ints, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Resampled counts (M, chunk). Outcomes of equally few images are as likely: drawn together, then parted."""
    images, chunk = int(counts.sum()), max(1, CHUNK // counts.size)
    many = np.flatnonzero(counts > FEW)
    few = [found for count in range(1, FEW + 1) if (found := np.flatnonzero(counts == count)).size]
    chances = [*counts[many], *(counts[group].sum() for group in few)]
    for start in range(0, resamples, chunk):
        width = min(chunk, resamples - start)
        totals = rng.multinomial(images, np.divide(chances, images), size=width)  # (width, many + groups)
        drawn = np.empty((counts.size, width))
        drawn[many] = totals[:, : many.size].T
        for column, group in enumerate(few, start=many.size):
            drawn[group] = _part(totals[:, column], group.size, rng)
        yield drawn


def _part(draws: Ints, size: int, rng: np.random.Generator) -> Ints:
    """Throw `draws` (W,) balls into `size` equal bins, for each column anew: (size, W)."""
    bins = np.repeat(np.arange(draws.size) * size, draws)
    bins += rng.integers(0, size, bins.size, dtype=np.uint16 if size < 2**16 else np.int64)  # small ones are quicker
    return np.bincount(bins, minlength=size * draws.size).reshape(draws.size, size).T


def _leave_one_out(counts: Ints) -> Iterator[Floats]:
    """Counts (M, chunk), each column with one image less of one outcome."""
    chunk = max(1, CHUNK // counts.size)
    for start in range(0, counts.size, chunk):
        width = min(chunk, counts.size - start)
        left = np.repeat(counts[:, None].astype(np.float64), width, axis=1)
        left[np.arange(start, start + width), np.arange(width)] -= 1
        yield left


def _scorer(outcomes: Outcomes, metric: str) -> Scorer:
    sum_true = _sums(outcomes.true, outcomes.n_classes)
    each = [
        (
            _sums(outcomes.true, outcomes.n_classes, said == outcomes.true),
            _sums(said, outcomes.n_classes),
            (said - outcomes.true).astype(np.float64) ** 2,
        )
        for said in outcomes.predicted
    ]

    def score(counts: Floats) -> Floats:
        true = (sum_true @ counts).T  # (R, C)
        margins = [((hits @ counts).T, true, (said @ counts).T, squares @ counts) for hits, said, squares in each]
        return np.stack([from_margins(*parts)[metric] for parts in margins])

    return score


def _mask_scorer(pixels: Ints, metric: str) -> Scorer:
    parts = np.moveaxis(pixels, -1, -2).astype(np.float64)  # (K, 3, C, N)

    def score(counts: Floats) -> Floats:
        sums = [[(part @ counts).T for part in own] for own in parts]  # (R, C) of tp, fp, fn
        return np.stack([from_pixels(*own)[metric] for own in sums])

    return score


def _sums(classes: Ints, n_classes: int, kept: NDArray[np.bool_] | None = None) -> csr_array:
    """The matrix (C, M) that sums the kept outcomes by class."""
    weights = np.ones(classes.size) if kept is None else kept.astype(np.float64)
    return csr_array((weights, (classes, np.arange(classes.size))), shape=(n_classes, classes.size))
