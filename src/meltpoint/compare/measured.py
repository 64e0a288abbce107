"""A metric of several predictors on the same images, and how sure it and every difference of it are.

Images of one group stand and fall together, so everything here counts groups. Accuracy of models trained once has
intervals and tests of its own (`intervals`); all other metrics have the jackknife's variance over groups, with as many
degrees of freedom as the spread of the groups allows, and that of the seeds where strategies were trained repeatedly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from meltpoint.arrays import Flags, Floats, Ints
from meltpoint.compare import intervals
from meltpoint.compare.influence import Influence, jackknife
from meltpoint.compare.intervals import Interval
from meltpoint.metrics import sign_of

MOST = {"log_loss": np.inf, "quadratic_kappa": 2.0}  # that two predictors can differ by; else 1
FEW_MORE = 4  # groups that Wilson's interval adds to those seen
NEVER_SEEN = 3.5  # times the square of a group's weight in the rarest class: the least variance, see `_variance`
FEWEST_IMAGES = 5  # each alone, below which nothing is said
FEWEST_GROUPS = 20  # of several images: where groups fail as a whole, few may hold none that does
FEWEST_OF_A_CLASS = 6  # groups, below which a mean over classes has no interval that holds
MOST_NAMED = 5  # classes in a sentence
REACH = 5e-4  # to which the end of an exact test is searched


@dataclass(frozen=True)
class Difference:
    """By how much one predictor is better than another on the same images; `p_value` is two-sided, of no difference."""

    value: float
    interval: Interval
    standard_error: float
    p_value: float


@dataclass(frozen=True)
class Measured:
    """A metric of K predictors on N images in G groups.

    `runs` are the scores (R,) of each predictor's trainings, whose mean is its score; `influence` (K, G) is what each
    group adds to that mean. `right` (K, N) are the right answers where the metric is the accuracy of single trainings.
    `shown` (C,) are the groups that show each class which the metric is a mean over. `reach` is the most by which a
    group of a class may move the class's part. `refusal` says why the metric cannot decide on these images.
    """

    metric: str
    images: int
    runs: tuple[Floats, ...]
    influence: Floats
    group: Ints  # (N,) of each image
    right: Flags | None
    shown: Ints
    refusal: str | None = None
    reach: float = 1.0

    @cached_property
    def scores(self) -> Floats:
        """The score (K,) of each predictor: the mean over its trainings."""
        return np.array([float(own.mean()) for own in self.runs])

    @property
    def groups(self) -> int:
        """How many groups the images form; as many as images where each stands alone."""
        return int(self.influence.shape[1])

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return sign_of(self.metric)

    def interval(self, which: int, confidence: float) -> Interval | None:
        """Of one predictor's score; None where the metric cannot decide (see `refusal`)."""
        if self.refusal is not None:
            return None
        level, score = (1 - confidence) / 2, float(self.scores[which])
        if self.right is not None:
            effect, freedom = self._effect(self.right[which].astype(np.float64))
            return intervals.wilson(score, self.images / effect, intervals.student(level, freedom))
        variance, freedom = self._variance(self.influence[which], [which])
        return self._around(score, variance, intervals.student(level, freedom))

    def difference(self, first: int, second: int, confidence: float) -> Difference | None:
        """By how much the first predictor is better than the second; None where the metric cannot decide."""
        if self.refusal is not None:
            return None
        value, level = self._gain(first, second), (1 - confidence) / 2
        error, freedom = self._error(first, second)
        if self.right is not None:
            gained, lost, n, freedom = self._discordant(first, second)
            z = intervals.student(level, freedom)
            alone = n == self.images
            p_value = intervals.mcnemar(round(gained), round(lost)) if alone else self._two_sided(first, second)
            return Difference(value, intervals.tango(gained, lost, n, z), error, p_value)
        reach = intervals.student(level, freedom) * error
        most = MOST.get(self.metric, 1.0)
        interval = Interval(max(-most, value - reach), min(most, value + reach))
        return Difference(value, interval, error, self._two_sided(first, second))

    def shows(self, first: int, second: int, margin: float, level: float) -> bool:
        """Whether it is shown, one-sided at `level`, that the first loses less than `margin` to the second.

        Of few images that one alone has right, Tango's test is confirmed by the exact one, which takes longer.
        """
        if self.refusal is not None:
            return False
        if self.right is None:
            error, freedom = self._error(first, second)
            return intervals.student_below((-self._gain(first, second) - margin) / error, freedom) <= level
        gained, lost, n, freedom = self._discordant(first, second)
        statistic = float(intervals.tango_statistic(lost, gained, n, margin))
        if intervals.student_below(statistic, freedom) > level:
            return False
        few = gained + lost <= intervals.FEW
        whole = int(np.ceil(lost - 1e-9)), int(gained + 1e-9), int(n + 1e-9)
        return not few or intervals.exact_below(*whole, margin) <= level

    def least(self, first: int, second: int, level: float) -> float:
        """The gain of the first over the second that is shown one-sided at `level`: the end of what `shows` allows."""
        value = self._gain(first, second)
        if self.right is None:
            error, freedom = self._error(first, second)
            bound = value - intervals.student(level, freedom) * error
            return max(-MOST.get(self.metric, 1.0), bound)
        gained, lost, n, freedom = self._discordant(first, second)
        bound = intervals.tango(gained, lost, n, intervals.student(level, freedom)).low
        if gained + lost > intervals.FEW or bound >= 0:
            return bound
        hidden, shown = -bound, 1.0  # losses; the exact test allows no more than Tango's
        while shown - hidden > REACH:
            middle = (hidden + shown) / 2
            hidden, shown = (hidden, middle) if self.shows(first, second, middle, level) else (middle, shown)
        return -shown

    def covariance(self, control: int) -> Floats:
        """How the losses of all others against `control` vary together: (K - 1, K - 1)."""
        others = [which for which in range(len(self.runs)) if which != control]
        lost = self.influence[others] - self.influence[control]
        lost = lost - lost.mean(axis=1, keepdims=True)
        return np.asarray(lost @ lost.T)

    def _around(self, score: float, variance: float, quantile: float) -> Interval:
        """Symmetric where the metric has no end: logarithms of losses, Fisher's z of kappa.

        A share has Wilson's interval, of as many images as would give it this variance.
        """
        error = variance**0.5
        if self.metric == "log_loss":
            reach = quantile * error
            if reach >= score:  # next to 0 no logarithm holds
                return Interval(max(0.0, score - reach), min(self.reach, score + reach))
            factor = float(np.exp(reach / score))
            return Interval(score / factor, min(self.reach, score * factor))
        if self.metric == "quadratic_kappa":
            inside = score * self.groups / (self.groups + FEW_MORE)
            reach = quantile * error / (1 - inside**2)
            low, high = (float(np.tanh(np.arctanh(inside) + end)) for end in (-reach, reach))
            return Interval(min(score, low), max(score, high))
        inside = (score * self.groups + FEW_MORE / 2) / (self.groups + FEW_MORE)
        return intervals.wilson(score, inside * (1 - inside) / variance, quantile)

    def _gain(self, first: int, second: int) -> float:
        return self.sign * float(self.scores[first] - self.scores[second])

    def _two_sided(self, first: int, second: int) -> float:
        error, freedom = self._error(first, second)
        return min(1.0, 2 * intervals.student_below(-abs(self._gain(first, second)) / error, freedom))

    def variances(self, first: int, second: int) -> tuple[float, float]:
        """Of the difference of two predictors: what images leave open, which more of them lessen, and what seeds do."""
        seeds = sum(variance for variance, _ in self._of_seeds([first, second]))
        return self._error(first, second)[0] ** 2 - seeds, seeds

    def _error(self, first: int, second: int) -> tuple[float, float]:
        variance, freedom = self._variance(self.influence[first] - self.influence[second], [first, second])
        return float(variance**0.5), freedom

    def _variance(self, influence: Floats, of: list[int]) -> tuple[float, float]:
        """Of a score or a difference, and its degrees of freedom.

        Over groups that is the jackknife's. Where no group differs, as many may differ unseen: of n groups without a
        difference 3.7 / n may still be different (95%), which is the interval of the variance `NEVER_SEEN` / n^2. Such
        an image may be of the rarest class, and such a group be wrong in all that it shows.
        Degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946).
        """
        seen, freedom = jackknife(influence)
        one = 1 / (len(self.shown) * (int(self.shown.min()) + FEW_MORE))
        if self.groups < self.images:
            one = max(one, 1 / (self.groups + FEW_MORE))
        parts = [(max(seen, NEVER_SEEN * (self.reach * one) ** 2), freedom), *self._of_seeds(of)]
        total = sum(variance for variance, _ in parts)
        return total, total**2 / sum(variance**2 / free for variance, free in parts)

    def _of_seeds(self, of: list[int]) -> list[tuple[float, float]]:
        """What the chance of training adds to a variance, and its degrees of freedom.

        That is the spread of the trainings over their number (Bouthillier et al., MLSys 2021). One that was trained
        once beside others that were not is taken to spread as they do.
        """
        repeated = [own for own in self.runs if len(own) > 1]
        if not repeated:
            return []
        freedom = sum(len(own) - 1.0 for own in repeated)
        pooled = sum(float(own.var(ddof=1)) * (len(own) - 1) for own in repeated) / freedom
        asked = [self.runs[which] for which in of]
        return [
            (float(own.var(ddof=1)) / len(own), len(own) - 1.0) if len(own) > 1 else (pooled, freedom) for own in asked
        ]

    def _discordant(self, first: int, second: int) -> tuple[float, float, float, float]:
        """Images that the first alone has right, those of the second, all, as if they were independent; freedom."""
        assert self.right is not None
        gained = float((self.right[first] & ~self.right[second]).sum())
        lost = float((self.right[second] & ~self.right[first]).sum())
        effect, freedom = self._effect(self.right[first].astype(np.float64) - self.right[second])
        return gained / effect, lost / effect, self.images / effect, freedom

    def _effect(self, values: Floats) -> tuple[float, float]:
        """The design effect of the groups on the mean of `values` (N,), and the degrees of freedom.

        The variance over groups divided by that of independent images, never below 1: Rao and Scott, A Simple Method
        for the Analysis of Clustered Binary Data, Biometrics 48 (1992). A large group draws the mean to itself, so what
        is left of it is divided by the others' share, and it counts as the few that it is (Bell and McCaffrey, Survey
        Methodology 28, 2002). The variance is never below that of an unseen group that fails as a whole.
        """
        if self.groups == self.images:
            return 1.0, np.inf
        shares = np.bincount(self.group, minlength=self.groups) / self.images
        even = float((shares**2).sum())
        freedom = max(1.0, even**2 / float((shares**4).sum()) - 1)
        plain = float(values.var())
        if plain == 0:
            return self.images * even, freedom
        lost = np.bincount(self.group, values - values.mean(), self.groups)
        clustered = float((lost**2 / np.maximum(1 - shares, 1e-9)).sum()) / self.images
        unseen = min(self.images * even, NEVER_SEEN * even**2 * self.images / plain)
        return max(1.0, clustered / plain, unseen), freedom


def count_groups(group: Ints) -> int:
    """How many groups the group ids (N,) of images, from 0 on, are of."""
    return int(group.max()) + 1 if len(group) else 0


def gather(
    metric: str,
    trainings: Sequence[Sequence[Influence]],
    group: Ints,
    shown: Ints,
    refusal: str | None,
    right: Flags | None = None,
    reach: float = 1.0,
) -> Measured:
    """What the trainings of each predictor add up to; `group` (N,) is the group of each image."""
    return Measured(
        metric=metric,
        images=len(group),
        runs=tuple(np.array([training.score for training in own]) for own in trainings),
        influence=np.stack([np.mean([training.groups for training in own], axis=0) for own in trainings]),
        group=group,
        right=right,
        shown=shown,
        refusal=refusal,
        reach=reach,
    )


def say_few(images: int, groups: int) -> str | None:
    """Why no metric can decide, as a clause; None if enough images, or groups of them, are there."""
    if groups < images and groups < FEWEST_GROUPS:
        return (
            f"{images:,} test images in {groups:,} groups are too few groups for any interval; at least "
            f"{FEWEST_GROUPS} are needed, because all images of a group may be wrong together"
        )
    if groups < FEWEST_IMAGES:
        return f"{groups:,} test images are too few for any interval; at least {FEWEST_IMAGES} are needed"
    return None


def say_rare(metric: str, shown: Ints, classes: Sequence[str], others: Sequence[str]) -> str | None:
    """Why a metric cannot decide, as a clause, None if it can: `shown` (C,) are the groups of each class that it needs.

    Classes that no group shows are left out of the mean, and are no reason.
    """
    rare = [(name, int(count)) for name, count in zip(classes, shown, strict=True) if 0 < count < FEWEST_OF_A_CLASS]
    if not rare:
        return None
    rare.sort(key=lambda found: found[1])
    names = ", ".join(f"{name} ({count})" for name, count in rare[:MOST_NAMED])
    more = f" and {len(rare) - MOST_NAMED} more" if len(rare) > MOST_NAMED else ""
    instead = f"; {' and '.join(others)} can" if others else ""
    what = "class has" if len(rare) == 1 else "classes have"
    return (
        f"{metric} cannot decide, because {len(rare)} {what} fewer than {FEWEST_OF_A_CLASS} images or groups: "
        f"{names}{more}{instead}"
    )
