"""Operating points, chosen on val so that what is wished holds on new images: with 95% confidence, or none is chosen.

Images are taken for independent draws: of those that belong together, give one (see docs/thresholds.md).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Flags, Ints
from meltpoint.params.heads import Threshold

CONFIDENCE = 0.95  # over what val might have been: in at most 5% of cases a chosen point gives less than was wished
SLACK = 1e-4  # of a probability: more than it moves by rounding, when the same image is seen in another batch
MANY = 5  # times the images that a promise needs at least: from here on a second start is worth half of the risk

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class Point:
    """A probability from which on a wish holds for new images.

    `reached` is the share on val, of `images` images. `value` is None where val does not show the wish for any; these
    are then the first ones that could have shown it. `needed` is the least number of images that can show the wish,
    when each of them is a hit.
    """

    value: float | None
    reached: float
    images: int
    needed: int


def count_needed(share: float, risk: float = 1 - CONFIDENCE) -> int:
    """So many images, all of them hits, show a share of hits: the least n with share**n <= risk.

    59 for 0.95. A share of 1 is shown by no number; asking for it is refused where params are read.
    """
    if not 0 < share < 1:
        return 1 if share <= 0 else np.iinfo(np.int64).max
    return max(1, math.ceil(math.log(risk) / math.log(share)))


def most_promised(images: int) -> float:
    """The highest share of hits that so many images can show, when each of them is one."""
    return float((1 - CONFIDENCE) ** (1 / images)) if images else 0.0


def choose_threshold(probabilities: Numbers, is_second: Flags, wish: Threshold) -> Point:
    """The probability from which on the answer is the second class, for probabilities of it (N,) and the truth (N,).

    For a recall it is the highest that keeps the wish, fewest false alarms, or a lower one that costs none more on val.
    For a precision it is the lowest that `choose_purest` reaches: fewest misses. Images of equal probability pass
    together.
    """
    if wish.metric == "precision":
        return choose_purest(probabilities, is_second, wish.at_least)
    values, hits, counts = _trace(probabilities, is_second)
    index = _highest(hits, wish.at_least)
    if index is not None:
        alarms = counts - hits
        index = int(np.searchsorted(alarms, alarms[index], side="right")) - 1
    return _point(values, hits, index, wish.at_least)


def choose_set(given: Numbers, coverage: float) -> Point:
    """The highest probability that the true class of an image has, in at least this share of new images.

    `given` (N,) are the probabilities of the true classes. The classes that have it form a set, which then holds the
    true class that often: split conformal prediction with the score 1 - p (Sadinle et al., JASA 2019), bounded given
    val instead of on average over it (Vovk, Machine Learning 2013, proposition 2a).
    """
    values, hits, _ = _trace(given, np.ones(len(given), dtype=np.bool_))
    return _point(values, hits, _highest(hits, coverage), coverage)


def choose_purest(values: Numbers, is_right: Flags, share: float) -> Point:
    """The smallest of the values (N,) such that of the rows at or above it at least `share` are right.

    Learn then test (Angelopoulos et al., 2021) with fixed sequences: from a number of most certain rows that is fixed
    beforehand one row after the other is added, until the exact binomial test no longer rejects that the share is too
    small. The sequence is the rows' own order, so that each test is exact whatever the shape of the scores: rows above
    the next value are independent draws from what lies above it. A second sequence begins at twice as many rows where
    there are enough of them, each then at half of the risk.
    """
    needed = count_needed(share)
    if not len(values):
        return Point(None, 0.0, 0, needed)
    steps, hits, counts = _trace(values, is_right)
    starts = 2 if len(values) >= MANY * needed else 1
    risk = (1 - CONFIDENCE) / starts
    passed = _chances(hits, counts, share) <= risk
    ends = [_last_passed(passed, counts >= count_needed(share, risk) * (number + 1)) for number in range(starts)]
    if max(ends) < 0:
        first = min(int(np.searchsorted(counts, needed)), len(counts) - 1)  # as many as could have shown it
        return Point(None, float(hits[first] / counts[first]), int(counts[first]), needed)
    index = max(ends)
    return Point(_between(steps, index), float(hits[index] / counts[index]), int(counts[index]), needed)


def one_of_each(groups: NDArray[np.object_]) -> Ints:
    """The places, rising, of one row of each group (N,), drawn at random, always the same one of the same rows.

    What belongs together is no further evidence, and one image of each group is as good as drawn by itself.
    """
    order = np.random.default_rng(0).permutation(len(groups))
    return np.sort(order[np.unique(groups[order].astype(str), return_index=True)[1]])


def _highest(hits: Ints, share: float) -> int | None:
    """The first step of falling values down to which enough of the hits lie; None if there are too few to show it.

    The k-th smallest of n draws has at least `share` of the population at or above it with probability
    P(Binomial(n, 1 - share) >= k) at least: a tolerance limit (Wilks, 1941), free of any shape, ties on the safe side.
    """
    shown = np.flatnonzero(_chances(hits, hits[-1:], share) <= 1 - CONFIDENCE)
    return int(shown[0]) if len(shown) else None


def _point(values: Numbers, hits: Ints, index: int | None, share: float) -> Point:
    there, needed = int(hits[-1]) if len(hits) else 0, count_needed(share)
    if index is None:
        return Point(None, float(there > 0), there, needed)
    return Point(_between(values, index), float(hits[index] / there), there, needed)


def _chances(hits: Ints, counts: Ints, share: float) -> NDArray[np.float64]:
    """How probable so many hits or more are, if only `share` of the population are some."""
    from scipy.stats import binom  # it takes half a second to import, and heads without thresholds do without

    return np.asarray(binom.sf(hits - 1, counts, share), dtype=np.float64)


def _last_passed(passed: Flags, begun: Flags) -> int:
    """The last step of the unbroken run of passed ones from the first that has begun; -1 if that one fails."""
    first = int(begun.argmax())
    if not begun[first]:
        return -1
    failed = np.flatnonzero(~passed[first:])
    end = first + (int(failed[0]) if len(failed) else len(passed) - first) - 1
    return end if end >= first else -1


def _trace(values: Numbers, flags: Flags) -> tuple[Numbers, Ints, Ints]:
    """The distinct values, falling, and how many rows are at or above each: those flagged, and all."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    ends = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    last = np.flatnonzero(ends)  # the last row of each group of equals
    return ordered[last], np.cumsum(flags[order], dtype=np.int64)[last], (last + 1).astype(np.int64)


def _between(values: Numbers, index: int) -> float:
    """The middle of the value at `index` of falling ones and the next; a little under it where there is no next.

    The image of that value passes, and what is seen later is not judged by how sure the model was of this one.
    """
    value = values[index]
    below = values[index + 1] if index + 1 < len(values) else value - 2 * values.dtype.type(SLACK)
    point = (value + below) / 2
    return float(point if point > below else value)
