from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from meltpoint.params.heads import Threshold
from meltpoint.tasks.thresholds import (
    MANY,
    SLACK,
    Point,
    choose_purest,
    choose_set,
    choose_threshold,
    count_needed,
    most_promised,
)

Array = np.ndarray[Any, np.dtype[Any]]
Rows = list[tuple[float, bool]]
Metric = Literal["precision", "recall"]

rows = st.lists(
    st.tuples(st.integers(0, 20).map(lambda part: part / 20) | st.floats(0, 1, width=32), st.booleans()),
    min_size=1,
    max_size=40,
)
shares = st.integers(60, 950).map(lambda part: part / 1000 + 0.000217)  # on no bound
ROUNDS = 400
MISSED = 0.05 + 3 * np.sqrt(0.05 * 0.95 / ROUNDS)  # of a seeded simulation: three standard errors above 5%


def arrays(given: Rows) -> tuple[Array, Array]:
    return np.array([value for value, _ in given], np.float32), np.array([flag for _, flag in given])


def surely(hits: int, count: int) -> float:
    """The lower bound of Clopper and Pearson (1934) of a share, with 95% confidence."""
    return float(beta.ppf(0.05, hits, count - hits + 1)) if hits else 0.0


def next_below(values: Array, value: float) -> float:
    """The largest of the values that is smaller, or a little less."""
    return max((float(own) for own in values if own < value), default=value - 2 * SLACK)


@given(given=rows, share=shares)
def test_the_threshold_of_a_recall_is_that_of_trying_each(given: Rows, share: float) -> None:
    """The highest whose recall is surely reached, or a lower one without a further false alarm."""
    values, flags = arrays(given)
    point: Any = choose_threshold(values, flags, Threshold(metric="recall", at_least=share))
    tried = {float(value): surely(int(flags[values >= value].sum()), int(flags.sum())) for value in values}
    keeping = [value for value, sure in tried.items() if sure >= share]
    if not keeping:
        assert point.value is None
        assert flags.sum() < point.needed
        return
    assert flags.sum() >= point.needed
    alarms = (values >= max(keeping)) & ~flags
    wanted = min(value for value in keeping if ((values >= value) & ~flags).sum() == alarms.sum())
    assert point.value == pytest.approx((wanted + next_below(values, wanted)) / 2, abs=1e-6)
    assert point.reached == pytest.approx(flags[values >= point.value].sum() / flags.sum())


@given(given=rows, share=shares)
def test_the_purest_begin_where_one_by_one_the_evidence_ends(given: Rows, share: float) -> None:
    values, flags = arrays(given)
    point: Any = choose_purest(values, flags, share)
    needed = count_needed(share)
    starts = 2 if len(given) >= MANY * needed else 1
    ends = [walk(values, flags, share, number, starts) for number in range(1, starts + 1)]
    reached = [end for end in ends if end is not None]
    if not reached:
        assert point.value is None
        return
    assert point.value == pytest.approx((min(reached) + next_below(values, min(reached))) / 2, abs=1e-6)
    assert point.reached == pytest.approx(flags[values >= point.value].mean())


def walk(values: Array, flags: Array, share: float, number: int, starts: int) -> float | None:
    """The last value, falling, before the bound of a sequence fails; None if its first does."""
    risk, found = 0.05 / starts, None
    for value in sorted(set(values.tolist()), reverse=True):
        passed = flags[values >= value]
        if len(passed) < number * count_needed(share, risk):
            continue
        hits = int(passed.sum())
        if (beta.ppf(risk, hits, len(passed) - hits + 1) if hits else 0.0) < share:
            break
        found = value
    return found


@pytest.mark.parametrize(("share", "needed"), [(0.5, 5), (0.8, 14), (0.9, 29), (0.95, 59), (0.99, 299)])
def test_so_many_images_and_no_fewer_can_show_a_share(share: float, needed: int) -> None:
    assert count_needed(share) == needed
    assert most_promised(needed) >= share > most_promised(needed - 1)
    for count in (needed - 1, needed):
        values, flags = np.linspace(0.5, 1, count), np.ones(count, bool)
        points = [
            choose_threshold(values, flags, Threshold(metric="recall", at_least=share)),
            choose_threshold(values, flags, Threshold(metric="precision", at_least=share)),
            choose_set(values, share),
        ]
        assert [point.value is None for point in points] == [count < needed] * 3
        assert {point.needed for point in points} == {needed}


def test_five_images_do_not_set_a_threshold() -> None:
    """Real photographs: 5 of 128 are screens, one of them scored 1e-13. That is no reason to call all of them one."""
    values = np.concatenate([[1e-13, 0.2, 0.9, 0.95, 0.99], np.linspace(1e-9, 0.4, 123)])
    point = choose_threshold(values, np.arange(128) < 5, Threshold(metric="recall", at_least=0.95))
    assert point == Point(None, 1.0, 5, 59)


def normal(rng: np.random.Generator, images: int, share: float) -> tuple[Array, Array]:
    flags = rng.random(images) < share
    return rng.normal(0, 1, images) + 2 * flags, flags


def tied(rng: np.random.Generator, images: int, share: float) -> tuple[Array, Array]:
    values, flags = normal(rng, images, share)
    return np.floor(values * 2) / 2, flags


def recall_of(threshold: float, share: float) -> float:
    return float(norm.sf(threshold - 2))


def precision_of(threshold: float, share: float) -> float:
    hits, alarms = share * norm.sf(threshold - 2), (1 - share) * norm.sf(threshold)
    return float(hits / (hits + alarms))


@pytest.mark.parametrize("draw", [normal, tied])
@pytest.mark.parametrize(
    ("metric", "wish", "images"), [("recall", 0.9, 200), ("recall", 0.95, 800), ("precision", 0.9, 400)]
)
def test_what_is_wished_holds_on_new_images(
    draw: Callable[..., tuple[Array, Array]], metric: Metric, wish: float, images: int
) -> None:
    """Thresholds at the share that val itself has miss the wish in half of the cases; see benchmarks/thresholds.py."""
    rng, missed, found = np.random.default_rng(0), 0, 0
    true = recall_of if metric == "recall" else precision_of
    for _ in range(ROUNDS):
        point = choose_threshold(*draw(rng, images, 0.5), Threshold(metric=metric, at_least=wish))
        if point.value is None:
            continue
        # values that come in halves pass from the next half on
        at = point.value if draw is normal else np.ceil(point.value * 2) / 2
        missed, found = missed + (true(at, 0.5) < wish), found + 1
    assert found > ROUNDS / 2
    assert missed / ROUNDS <= MISSED


def test_a_share_of_right_answers_holds_on_new_images() -> None:
    """Also where scores tell nothing at all, and the surest are no better than the others."""
    rng, missed = np.random.default_rng(1), 0
    for _ in range(ROUNDS):
        values, flags = rng.random(300), rng.random(300) < 0.88
        missed += choose_purest(values, flags, 0.9).value is not None
    assert missed / ROUNDS <= MISSED


def test_a_set_covers_new_images() -> None:
    rng, covered = np.random.default_rng(2), []
    for _ in range(ROUNDS):
        point: Any = choose_set(rng.random(100), 0.9)
        covered.append(1 - point.value)  # of uniform probabilities
    assert np.mean(np.array(covered) < 0.9) <= MISSED
    assert np.mean(covered) < 0.96, "not by taking everything in"


def test_a_little_rounding_tips_no_image() -> None:
    values, flags = np.full(60, 0.9, np.float32), np.ones(60, bool)
    values[:2], flags[0] = [0.3, 0.6], False
    point: Any = choose_threshold(values, flags, Threshold(metric="recall", at_least=0.95))
    assert point.value < np.float32(0.6) - 1e-5


@pytest.mark.parametrize("metric", ["precision", "recall"])
def test_what_separates_all_stands_in_the_middle(metric: Metric) -> None:
    """A saturated model says 0 and 1 on val; what it says next is not judged by that."""
    values, flags = np.repeat([1, 0], 60).astype(np.float32), np.repeat([True, False], 60)
    assert choose_threshold(values, flags, Threshold(metric=metric, at_least=0.95)).value == 0.5


def test_a_recall_gives_nothing_away_for_nothing() -> None:
    """All of the second class lie above all of the first: a wish of 0.8 is no reason to lose a fifth."""
    values, flags = np.linspace(0, 1, 200), np.arange(200) >= 100
    assert choose_threshold(values, flags, Threshold(metric="recall", at_least=0.8)).reached == 1.0


def test_equal_probabilities_pass_together() -> None:
    values, flags = np.repeat([0.9, 0.5], [40, 10]), np.arange(50) < 45
    assert choose_purest(values, flags, 0.9).value == pytest.approx(0.7)
    assert choose_purest(values, np.ones(50, bool), 0.9).value == pytest.approx(0.5 - SLACK)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbours_stay_apart(dtype: type[np.floating]) -> None:
    """Also where no number lies between two probabilities."""
    one = dtype(1)
    near = np.array([one, np.nextafter(one, dtype(0)), np.nextafter(np.nextafter(one, dtype(0)), dtype(0))], dtype)
    values = np.repeat(near, 60)
    for index in range(3):
        flags = np.repeat(np.arange(3) <= index, 60)
        point = choose_purest(values, flags, 0.95)
        assert (values >= point.value).tolist() == flags.tolist()


def test_no_image_no_choice() -> None:
    nothing = np.zeros(0, np.float32), np.zeros(0, bool)
    assert choose_purest(*nothing, 0.9) == Point(None, 0.0, 0, 29)
    assert choose_set(nothing[0], 0.9) == Point(None, 0.0, 0, 29)
    assert choose_threshold(*nothing, Threshold(metric="recall", at_least=0.5)) == Point(None, 0.0, 0, 5)
