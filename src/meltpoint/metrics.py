"""Metrics that are arithmetic on a confusion matrix, for one matrix or a stack of them."""

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Floats, Ints

LOWER_IS_BETTER = ("log_loss",)
LEAST = 0.01  # of the probability that chance gives a class: log loss takes no true class for less likely than that

Counts = Ints | Floats
Scores = dict[str, Floats]


def sign_of(metric: str) -> int:
    """1 of a metric of which more is better, -1 of one of which less is."""
    return -1 if metric in LOWER_IS_BETTER else 1


def least_probability(n_classes: int) -> float:
    """The probability that log loss takes for any smaller one given to the true class: a hundredth of chance's.

    So the loss of an image is bounded. Without a bound the mean has no reliable interval: one image in a thousand, of
    which a model is wrongly sure to sixteen digits, weighs as much as all others.
    """
    return LEAST / n_classes


def confusion(true: Ints, predicted: Ints, n_classes: int) -> Ints:
    """Count pairs: (n_classes, n_classes), row the true class, column the predicted one; true < 0 is left out."""
    known = true >= 0
    cells = true[known] * n_classes + predicted[known]
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes).astype(np.int64)


def from_confusion(counts: Counts) -> Scores:
    """Metrics of confusion matrices (..., C, C), each an array (...): names and values as scikit-learn's, 0 for 0/0."""
    counts = np.asarray(counts, dtype=np.float64)
    squares = np.tensordot(counts, steps(counts.shape[-1]) ** 2)
    return from_margins(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2), squares)


def from_margins(hits: Counts, true: Counts, predicted: Counts, squares: Counts) -> Scores:
    """The same metrics from what they need of the matrix.

    That is its diagonal, row sums and column sums, each (..., C), and the sum (...) over images of squared distances
    between the ids of the true and the predicted class.
    `f1` is of the last class when there are two, and equals `macro_f1` otherwise. Macro scores are means over the
    classes that occur in the truth, as scikit-learn's with these `labels`: a class without an image is no mistake.
    """
    hits, true, predicted, squares = (np.asarray(part, dtype=np.float64) for part in (hits, true, predicted, squares))
    recall = ratio(hits, true)
    f1 = ratio(2 * hits, true + predicted)
    occurs = (true > 0).sum(-1).astype(np.float64)
    macro_f1 = ratio(np.where(true > 0, f1, 0.0).sum(-1), occurs)
    return {
        "accuracy": ratio(hits.sum(-1), true.sum(-1)),
        "balanced_accuracy": ratio(recall.sum(-1), occurs),
        "macro_f1": macro_f1,
        "f1": f1[..., -1] if hits.shape[-1] == 2 else macro_f1,
        "quadratic_kappa": quadratic_kappa(true, predicted, squares),
    }


def from_pixels(tp: Counts, fp: Counts, fn: Counts) -> Scores:
    """Metrics of masks from counts of pixels (..., C) over all images, each an array (...).

    `miou` and `dice` are means over the classes that occur in the truth; 0 if none does. A pixel that is taken for a
    class which no image shows costs the class that it is of, and makes no class of IoU 0. Counts are summed over a
    dataset first: means of images or batches are other numbers.
    """
    tp, fp, fn = (np.asarray(part, dtype=np.float64) for part in (tp, fp, fn))
    occurs = (tp + fn > 0).sum(-1).astype(np.float64)
    return {
        "miou": ratio(ratio(tp, tp + fp + fn).sum(-1), occurs),
        "dice": ratio(ratio(2 * tp, 2 * tp + fp + fn).sum(-1), occurs),
        "pixel_accuracy": ratio(tp.sum(-1), (tp + fn).sum(-1)),
    }


def from_tags(tp: Counts, fp: Counts, fn: Counts) -> Scores:
    """F1 of tags from counts of images (..., K), each an array (...): over all tags together, and their mean.

    `macro_f1` is over the tags that occur in the truth; 0 if none does.
    """
    tp, fp, fn = (np.asarray(part, dtype=np.float64) for part in (tp, fp, fn))
    occurs = (tp + fn > 0).sum(-1).astype(np.float64)
    f1 = np.where(tp + fn > 0, ratio(2 * tp, 2 * tp + fp + fn), 0.0)
    micro = ratio(2 * tp.sum(-1), (2 * tp + fp + fn).sum(-1))
    return {"micro_f1": micro, "macro_f1": ratio(f1.sum(-1), occurs)}


def average_precision(truth: NDArray[np.int8], values: NDArray[np.floating]) -> Floats:
    """The average precision (K,) of each tag, as scikit-learn's: images of equal value stand at one place.

    `truth` (N, K) is 1, 0, or -1 where it is not known and the image does not count; `values` (N, K) rank the images.
    NaN of a tag that no image has.
    """
    order = np.argsort(-values, axis=0, kind="stable")
    ranked, states = np.take_along_axis(values, order, 0), np.take_along_axis(truth, order, 0)
    has = states == 1
    hits, seen = np.cumsum(has, axis=0), np.cumsum(states >= 0, axis=0)
    last = np.ones(ranked.shape, np.bool_)  # of the images of one value
    last[:-1] = ranked[:-1] != ranked[1:]
    places = np.where(last, np.arange(len(ranked))[:, None], len(ranked))
    ends = np.minimum.accumulate(places[::-1], axis=0)[::-1]
    precision = ratio(*(np.take_along_axis(part, ends, 0).astype(np.float64) for part in (hits, seen)))
    there = has.sum(0).astype(np.float64)
    return np.where(there > 0, ratio(np.where(has, precision, 0.0).sum(0), there), np.nan)


def quadratic_kappa(true: Floats, predicted: Floats, squares: Floats) -> Floats:
    """Cohen's kappa with squared distances as weights, for classes that are steps; arguments as in `from_margins`.

    1 less the squared distances over those that the same answers would have, were they dealt out by chance: Cohen,
    Weighted kappa, Psychological Bulletin 70 (1968). Of one class alone it is 0, as chance explains all.
    """
    ids = np.arange(true.shape[-1])
    images = true.sum(-1)
    by_chance = (true + predicted) @ ids**2 - 2 * ratio((true @ ids) * (predicted @ ids), images)
    return np.where(by_chance > 0, 1 - ratio(squares, by_chance), 0.0)


def steps(n_classes: int) -> Ints:
    """The distances (C, C) between the ids of classes."""
    ids = np.arange(n_classes)
    return np.asarray(np.abs(ids[:, None] - ids))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Part / whole, and 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
