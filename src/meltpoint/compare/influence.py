"""How much each group of images weighs in a metric: scores, and what they would lose without one group.

Every metric here but kappa is a mean over classes of ratios of sums over images, so leaving out a group is arithmetic
on what the group adds to these sums: an exact jackknife (Efron, The Jackknife, the Bootstrap and Other Resampling
Plans, 1982) in one pass, whatever the number of images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Flags, Floats, Ints
from meltpoint.metrics import ratio

DENSE = 20_000_000  # sums of every group and class held at once
ALL = np.ones(1, np.bool_)  # of one class


@dataclass(frozen=True)
class Influence:
    """Of one predictor: its score, and by how much each group (G,) raises it: the score less the one without it."""

    score: float
    groups: Floats


def groups_of(groups: "pd.Series[str]") -> Ints:
    """Numbers (N,) from 0 on, the same for images of the same group."""
    return np.asarray(pd.factorize(groups)[0], dtype=np.int64)


def mean_ratio(group: Ints, kind: Ints, above: Floats, below: Floats, n_groups: int, kept: Flags = ALL) -> Influence:
    """The mean, over the `kept` classes (C,), of each class's sum of numerators over its sum of denominators.

    An entry (E,) is of the class `kind`, and adds to its ratio `above` / `below`; entries of the same group and class
    are added up first.
    """
    n_classes = len(kept)
    keys = group * n_classes + kind
    if n_groups * n_classes <= DENSE:
        above, below = (_sum(keys, part, n_groups * n_classes) for part in (above, below))
        cells = np.flatnonzero((above != 0) | (below != 0))
        above, below = above[cells], below[cells]
    else:
        cells, where = np.unique(keys, return_inverse=True)
        above, below = (_sum(where, part, len(cells)) for part in (above, below))
    group, kind = np.divmod(cells, n_classes)
    total = _sum(kind, below, n_classes)
    share = ratio(_sum(kind, above, n_classes), total)
    rest = total[kind] - below
    lost = np.where(kept[kind] & (rest > 0), ratio(above - share[kind] * below, rest), 0.0)
    count = max(1, int(kept.sum()))
    return Influence(float(share[kept].sum() / count), _sum(group, lost, n_groups) / count)


def _sum(keys: Ints, parts: Floats, count: int) -> Floats:
    """The sum of the parts of each key (count,)."""
    return np.bincount(keys, parts, count).astype(np.float64)


def accuracy(true: Ints, predicted: Ints, group: Ints, n_groups: int) -> Influence:
    """Share of right answers."""
    return mean_ratio(
        group, np.zeros_like(group), (predicted == true).astype(np.float64), np.ones(len(group)), n_groups
    )


def balanced_accuracy(true: Ints, predicted: Ints, group: Ints, n_groups: int, kept: Flags) -> Influence:
    """Mean recall of the kept classes."""
    return mean_ratio(group, true, (predicted == true).astype(np.float64), np.ones(len(group)), n_groups, kept)


def macro_f1(true: Ints, predicted: Ints, group: Ints, n_groups: int, kept: Flags) -> Influence:
    """Mean F1 of the kept classes: 2 hits over the images that are of the class and the answers that name it."""
    right = np.where(predicted == true, 2.0, 0.0)
    both = np.concatenate([true, predicted])
    above = np.concatenate([right, np.zeros(len(predicted))])
    return mean_ratio(np.tile(group, 2), both, above, np.ones(len(both)), n_groups, kept)


def log_loss(given: Floats, least: float, group: Ints, n_groups: int) -> Influence:
    """Mean of -log of the probability `given` (N,) to the true class, `least` for any below; smaller is better."""
    lost = -np.log(np.clip(given, least, 1))
    return mean_ratio(group, np.zeros_like(group), lost, np.ones(len(group)), n_groups)


def roc_auc(true: Ints, probabilities: Floats, group: Ints, n_groups: int, asked: Sequence[int]) -> Influence:
    """Mean area under the ROC curve of the classes `asked`, each against all others; NaN of none.

    The placements of DeLong et al., Biometrics 44 (1988), summed over groups as Obuchowski has it, Biometrics 53
    (1997).
    """
    from scipy.stats import rankdata  # it takes half a second to import, and most metrics do without

    if not asked:
        return Influence(float("nan"), np.zeros(n_groups))
    areas, influence = list[float](), np.zeros(n_groups)
    for kind in asked:
        positive, values = true == kind, probabilities[:, kind]
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        overall, within = rankdata(values), np.empty(len(values))
        within[positive], within[~positive] = rankdata(values[positive]), rankdata(values[~positive])
        beaten = np.where(positive, (overall - within) / n_negative, 1 - (overall - within) / n_positive)
        areas.append(float(beaten[positive].mean()))
        placed = (beaten - areas[-1]) / np.where(positive, max(1, n_positive - 1), max(1, n_negative - 1))
        influence += _sum(group, placed, n_groups) / len(asked)
    return Influence(float(np.mean(areas)), influence)


def average_precision(
    truth: NDArray[np.int8], values: Floats, group: Ints, n_groups: int, asked: Sequence[int]
) -> Influence:
    """Mean average precision of the tags `asked`; `truth` (N, K) is 1, 0, or -1 where it is not known.

    What each image adds is the score less the one without it, exactly, as in `metrics.average_precision`; that of a
    group is the sum over its images.
    """
    areas, influence = list[float](), np.zeros(n_groups)
    for tag in asked:
        known = np.flatnonzero(truth[:, tag] >= 0)
        has = truth[known, tag] == 1
        _, step = np.unique(-values[known, tag], return_inverse=True)  # images of one value stand at one place
        own, all_own = _sum(step, has.astype(np.float64), step.max() + 1), np.bincount(step).astype(np.float64)
        hits, seen, there = np.cumsum(own), np.cumsum(all_own), float(has.sum())
        parts, missed = own * ratio(hits, seen), own * ratio(hits, seen - 1)  # missed: without an image without the tag
        found = own * ratio(hits - 1, seen - 1)  # without one that has it, from the next place on
        above = np.cumsum(parts) - parts
        from_here, from_next = _rest(missed), _rest(found) - found
        at_once = (own - 1) * ratio(hits - 1, seen - 1)
        areas.append(float(parts.sum() / there))
        without = np.where(
            has,
            ratio((above + at_once + from_next)[step], np.full(len(step), there - 1)),
            (above + from_here)[step] / there,
        )
        influence += _sum(group[known], areas[-1] - without, n_groups) / len(asked)
    return Influence(float(np.mean(areas)) if areas else float("nan"), influence)


def _rest(parts: Floats) -> Floats:
    """The sum from each place on."""
    return np.asarray(np.cumsum(parts[::-1])[::-1])


def tag_f1(truth: NDArray[np.int8], said: Flags, group: Ints, n_groups: int, kept: Flags) -> Influence:
    """F1 of answers (N, K): the mean of the `kept` tags (K,), or with one kept flag of all tags together."""
    rows, tags = np.nonzero((truth >= 0) & (kept if len(kept) > 1 else True))
    has, given = truth[rows, tags] == 1, said[rows, tags]
    kind = tags if len(kept) > 1 else np.zeros_like(tags)
    return mean_ratio(group[rows], kind, 2.0 * (has & given), 1.0 * has + given, n_groups, kept)


def quadratic_kappa(true: Ints, predicted: Ints, group: Ints, n_groups: int) -> Influence:
    """Cohen's kappa with squared distances of class ids as weights (see `metrics.quadratic_kappa`)."""
    t, s = true.astype(np.float64), predicted.astype(np.float64)
    own = [_sum(group, part, n_groups) for part in (np.ones(len(t)), t, s, t * t + s * s, (t - s) ** 2)]
    whole = [float(part.sum()) for part in own]
    score = float(_kappa(*(np.array([part]) for part in whole))[0])
    return Influence(score, score - _kappa(*(total - part for total, part in zip(whole, own, strict=True))))


def _kappa(images: Floats, true: Floats, predicted: Floats, squares: Floats, distances: Floats) -> Floats:
    by_chance = squares - 2 * ratio(true * predicted, images)
    return np.where(by_chance > 0, 1 - ratio(distances, by_chance), 0.0)


def pixel_ratio(pixels: Ints, metric: str, group: Ints, n_groups: int, kept: Flags) -> Influence:
    """`miou`, `dice` or `pixel_accuracy` from pixels (3, N, C) that are tp, fp and fn, summed over the images first."""
    tp, fp, fn = (part.astype(np.float64) for part in pixels)
    images, classes = tp.shape
    if metric == "pixel_accuracy":
        return mean_ratio(group, np.zeros_like(group), tp.sum(1), (tp + fn).sum(1), n_groups)
    above, below = (tp, tp + fp + fn) if metric == "miou" else (2 * tp, 2 * tp + fp + fn)
    where = np.repeat(group, classes), np.tile(np.arange(classes), images)
    return mean_ratio(*where, above.ravel(), below.ravel(), n_groups, kept)


def jackknife(influence: Floats) -> tuple[float, float]:
    """The variance of a score from what each group adds to it (G,), and its degrees of freedom.

    2 V^2 / var(V), where the variance of a variance is that of the squares: few groups that weigh most count as few.
    """
    count = len(influence)
    if count < 2:
        return float("inf"), 1.0
    squares = (influence - influence.mean()) ** 2
    total = float(squares.sum())
    if total <= 1e-18:
        return 0.0, count - 1.0
    uneven = float((squares**2).sum()) - total**2 / count
    freedom = min(count - 1.0, 2 * total**2 / uneven) if uneven > 0 else count - 1.0
    return (count - 1) / count * total, max(1.0, freedom)
