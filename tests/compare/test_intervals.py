"""Formulas, held against values that others computed or that can be counted."""

from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from meltpoint.compare.intervals import exact_below, holm, joint_level, mcnemar, tango, tango_statistic, wilson

Z = float(norm.isf(0.025))


def test_wilson_is_that_of_scipy_and_takes_parts_of_images() -> None:
    found, asked = wilson(41 / 50, 50, Z), binomtest(41, 50).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((asked.low, asked.high))
    assert wilson(1.0, 12.5, Z).high == pytest.approx(1.0)
    assert wilson(0.82, 25, Z).low < found.low


def test_tango_is_that_of_the_paper() -> None:
    """Tango, Statistics in Medicine 17 (1998), table 4: 43 of 44 agree, one is gained."""
    found = tango(1, 0, 44, Z)
    assert (found.low, found.high) == pytest.approx((-0.0604, 0.1178), abs=0.002)


def test_the_ends_of_tangos_interval_are_where_its_statistic_is_z() -> None:
    found = tango(17, 9, 120, Z)
    ends = [float(tango_statistic(17, 9, 120, end)) for end in (found.low, found.high)]
    assert ends == pytest.approx([Z, -Z], abs=1e-5)


@pytest.mark.parametrize("images", [5, 50, 367])
def test_without_a_difference_the_interval_is_exact(images: int) -> None:
    found = tango(0, 0, images, Z)
    assert (1 - found.high) ** images == pytest.approx(0.025)
    assert found.low == -found.high


@pytest.mark.parametrize(("lost", "gained", "images", "margin"), [(0, 3, 60, 0.02), (2, 5, 80, 0.05), (4, 4, 100, 0.1)])
def test_the_exact_test_is_the_greatest_chance(lost: int, gained: int, images: int, margin: float) -> None:
    """All tables of so many images, by brute force over what both may have right."""
    seen = float(tango_statistic(lost, gained, images, margin))
    worst = 0.0
    for alone in np.linspace(0, (1 - margin) / 2, 60):
        chance = 0.0
        for b in range(images + 1):
            c = np.arange(images - b + 1)
            as_good = tango_statistic(c, b, images, margin) <= seen + 1e-12
            if as_good.any() and alone > 0:
                tables = np.array([comb(images, b) * comb(images - b, int(k)) for k in c[as_good]], dtype=np.float64)
                rest = 1 - 2 * alone - margin
                chance += float(
                    (tables * alone**b * (alone + margin) ** c[as_good] * rest ** (images - b - c[as_good])).sum()
                )
        worst = max(worst, chance)
    found = exact_below(lost, gained, images, margin)
    assert found <= worst + 6e-4
    assert found > 0.5 * worst, "the nuisance interval leaves out what is unlikely, not what matters"


def test_a_joint_level_lies_between_one_and_all() -> None:
    alike, apart = np.full((3, 3), 1.0) + 1e-9 * np.eye(3), np.eye(3)
    assert joint_level(alike, 0.05) == pytest.approx(0.05, rel=0.05)
    assert joint_level(apart, 0.05) == pytest.approx(1 - 0.95 ** (1 / 3), rel=0.05)
    assert joint_level(np.eye(1), 0.05) == 0.05
    assert joint_level(np.zeros((2, 2)), 0.05) == pytest.approx(1 - 0.95**0.5, rel=0.05)


def test_dunnett_is_that_of_the_table() -> None:
    """Against a control with infinite freedom, 5 others, one-sided 5%: 2.23 (Dunnett, JASA 50, 1955, table 1a)."""
    assert norm.isf(joint_level(0.5 * np.eye(5) + 0.5, 0.05)) == pytest.approx(2.23, abs=0.02)


def test_mcnemar_is_a_binomial_test() -> None:
    assert mcnemar(9, 2) == pytest.approx(binomtest(9, 11).pvalue)
    assert mcnemar(0, 0) == 1


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
