"""Intervals and tests of proportions and of means of ratios: formulas only, each with the paper that it comes from.

scipy.stats, which takes a second to import, is imported where it is used: many a command does without.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Floats

FEW = 60  # discordant images up to which the exact test is computed; beyond, Tango's score test keeps its level
NUISANCE = 5e-4  # level of the interval of the nuisance parameter in the exact test
DRAWS = 20_000  # of the maximum of correlated normal variables


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


def wilson(share: float, n: float, z: float) -> Interval:
    """The score interval of a proportion `share` of `n` images: Wilson, JASA 22 (1927). `n` may be an effective one."""
    centre, spread = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(
        max(0.0, float((centre - spread) / (1 + z * z / n))), min(1.0, float((centre + spread) / (1 + z * z / n)))
    )


def tango_statistic(gained: Floats | float, lost: Floats | float, n: float, difference: float) -> Floats:
    """Tango's score statistic, standard normal if the true difference of two paired proportions is `difference`.

    `gained` are images that the first alone has right, `lost` those of the second, of `n` in all; fractions are
    allowed. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17 (1998).
    """
    gained, lost = np.asarray(gained, np.float64), np.asarray(lost, np.float64)
    a, b = 2 * n, -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    alone = (np.sqrt(np.maximum(b * b - 4 * a * c, 0)) - b) / (2 * a)  # the share that the second alone has right
    variance = np.maximum(n * (2 * alone + difference * (1 - difference)), 1e-300)
    return np.asarray((gained - lost - n * difference) / np.sqrt(variance))


def tango(gained: float, lost: float, n: float, z: float) -> Interval:
    """The interval of the first's proportion minus the second's, see `tango_statistic`.

    Without a discordant image it is the exact one, for no statistic knows how rare a difference is that never occurred:
    at 95% it reaches to 1 - 0.025 ** (1 / n).
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if gained + lost == 0:
        reach = 1 - float(norm.sf(z)) ** (1 / n)
        return Interval(-reach, reach)
    value, nearly = (gained - lost) / n, 1 - 1e-9

    def bound(side: float, end: float) -> float:
        def at(difference: float) -> float:
            return float(tango_statistic(gained, lost, n, difference)) - side * z

        return end if at(end) * at(value) > 0 else float(brentq(at, min(value, end), max(value, end), xtol=1e-9))

    return Interval(bound(1.0, -nearly), bound(-1.0, nearly))


def exact_below(lost: int, gained: int, n: int, margin: float) -> float:
    """The exact one-sided p-value against a true loss of `margin` or more; small: the loss is shown to be smaller.

    It is the greatest chance, over everything that is true at the margin, of a result as favourable as the one seen.

    Results are ordered by Tango's statistic (Chan and Zhang, Biometrics 55, 1999); the share that only the candidate
    has right is not known, and is searched in its own interval (Berger and Boos, JASA 89, 1994).
    """
    from scipy.stats import binom

    if lost + gained == 0:
        return min(1.0, 2 * (1 - margin) ** n)  # as the two-sided interval: no difference was seen at all
    seen = float(tango_statistic(lost, gained, n, margin))
    low = float(binom.ppf(NUISANCE, n, 0)) if gained == 0 else _clopper(gained, n, NUISANCE)[0]
    high = min(_clopper(gained, n, NUISANCE)[1], (1 - margin) / 2)
    chances = np.linspace(low, high, 24)
    columns = np.arange(int(binom.ppf(1 - 1e-9, n, high)) + 1)
    most = _most_lost(columns, n, margin, seen)
    worst = 0.0
    for alone in chances:
        rest = min(1.0, (alone + margin) / (1 - alone))
        below = np.where(most >= 0, binom.cdf(most, n - columns, rest), 0.0)
        worst = max(worst, float((binom.pmf(columns, n, alone) * below).sum()))
    return min(1.0, worst + NUISANCE)


def _clopper(count: int, n: int, level: float) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(count, n).proportion_ci(1 - level, method="exact")
    return float(found.low), float(found.high)


def _most_lost(gained: NDArray[np.int64], n: int, margin: float, seen: float) -> NDArray[np.int64]:
    """For each count of gained images the most lost ones at which the statistic is no greater than `seen`; -1: none."""
    low, high = np.full(len(gained), -1), n - gained
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = tango_statistic(middle.astype(np.float64), gained.astype(np.float64), n, margin) <= seen + 1e-12
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return np.asarray(low, dtype=np.int64)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value of McNemar's test: are images that one alone gets right as often the other's?"""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: Holm, Scandinavian Journal of Statistics 6 (1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)), 1)
    return [float(value) for value in adjusted]


def joint_level(covariance: Floats, level: float) -> float:
    """The level of each of several one-sided comparisons (K, K covariance) at which all hold together at `level`.

    The maximum of correlated normal variables, as Dunnett has it (JASA 50, 1955), with the correlations that the data
    show: never above `level`, never below `level` / K. Comparisons without any spread count as independent.
    """
    from scipy.stats import norm

    count = len(covariance)
    if count == 1:
        return level
    scale = np.sqrt(np.diag(covariance))
    flat = scale <= 1e-15
    scale[flat] = 1.0
    correlation = covariance / np.outer(scale, scale)
    correlation[flat, :] = correlation[:, flat] = 0.0
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn = np.random.default_rng(0).standard_normal((DRAWS, count)) @ root.T
    found = float(norm.sf(np.quantile(drawn.max(axis=1), 1 - level)))
    return min(level, max(level / count, found))


def student_below(statistic: float, freedom: float) -> float:
    """The chance that Student's t is no greater than `statistic`; infinite `freedom` is the normal one."""
    from scipy.stats import norm, t

    return float(norm.cdf(statistic)) if np.isinf(freedom) else float(t.cdf(statistic, max(freedom, 1.0)))


def student(level: float, freedom: float) -> float:
    """The quantile that Student's t exceeds with probability `level`; infinite `freedom` is the normal one."""
    from scipy.stats import norm, t

    return float(norm.isf(level)) if np.isinf(freedom) else float(t.isf(level, max(freedom, 1.0)))


def optimism(models: int, spread: float) -> float:
    """How much too high the best score of so many equally good models is to be expected.

    `spread` is the standard error of a score as far as it differs between models: that of a difference of two over the
    root of 2. The mean of the largest of n normal variables is Blom's (Statistical Estimates and Transformed
    Beta-Variables, 1958).
    """
    from scipy.special import ndtri  # the quantile of the normal distribution, as scipy.stats has it

    return spread * float(ndtri((models - 0.375) / (models + 0.25))) if models > 1 else 0.0
