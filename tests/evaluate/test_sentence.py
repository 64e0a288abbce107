from typing import Any

import pytest

from meltpoint.evaluate.bootstrap import Difference, Interval
from meltpoint.evaluate.sentence import Facts, say_decision
from meltpoint.evaluate.verdict import Ruling
from meltpoint.params.judging import Compare

COSTS = {"train_seconds": 10.0, "latency_p50_ms": 10.0, "parameters": 5.0}


@pytest.fixture
def facts(settings: Compare) -> Facts:
    """`best` is 3.8 points ahead of `cheap` and 2 points of `other`; it trains nine times as long as `cheap`."""
    return Facts(
        best="best",
        main_head="defective",
        images=656,
        scores={"best": 0.881, "cheap": 0.843, "other": 0.861},
        intervals=dict.fromkeys(("best", "cheap", "other"), Interval(0.85, 0.91)),
        differences={
            "cheap": Difference(0.038, Interval(0.016, 0.060), 0.011, 0.0012),
            "other": Difference(0.020, Interval(-0.004, 0.044), 0.012, 0.1),
        },
        p_holm={"cheap": 0.0012, "other": 0.2},
        costs={"best": COSTS | {"train_seconds": 90.0}, "cheap": COSTS, "other": COSTS | {"train_seconds": 45.0}},
        settings=settings,
    )


def ruling(winner: str, verdict: Any = "ship", **more: Any) -> Ruling:
    return Ruling(
        **{"winner": winner, "verdict": verdict, "standings": {}, "unsettled": [], "refuting": [], "more_images": None}
        | more
    )


def without(facts: Facts, *names: str) -> Facts:
    kept = {name: found for name, found in facts.differences.items() if name not in names}
    return Facts(**{**facts.__dict__, "differences": kept})


def test_a_better_one(facts: Facts) -> None:
    assert say_decision(ruling("best"), without(facts, "other")) == (
        "Ship best: 88.1% accuracy on defective against 84.3% for cheap (+3.8 points, 95% interval +1.6 to +6.0, "
        "p=0.001); it costs 9x the training time and as much to run."
    )


def test_of_several_the_closest_is_named(facts: Facts) -> None:
    said = say_decision(ruling("best"), facts)
    assert "against 86.1% for other (+2.0 points, 95% interval -0.4 to +4.4, p=0.20)" in said
    assert "it costs 2x the training time" in said


def test_a_best_that_nothing_undercuts(facts: Facts) -> None:
    costs = {**facts.costs, "best": COSTS | {"train_seconds": 5.0}}
    said = say_decision(ruling("best"), Facts(**{**facts.__dict__, "costs": costs}))
    assert "; it is best on val and nothing is cheaper: it costs 11% of the training time" in said


def test_a_cheaper_one_that_is_as_good(facts: Facts) -> None:
    assert say_decision(ruling("cheap"), facts) == (
        "Ship cheap: 84.3% accuracy on defective against 88.1% for best, the best on val (-3.8 points, 95% interval "
        "-6.0 to -1.6, p=0.001); a loss of 1 point or more is ruled out, and it costs 11% of the training time and as "
        "much to run."
    )


def test_the_only_one(facts: Facts) -> None:
    assert say_decision(ruling("best"), without(facts, "cheap", "other")) == (
        "Ship best, the only strategy: 88.1% accuracy on defective (95% interval 85.0% to 91.0%, 656 test images)."
    )


def test_not_enough(facts: Facts) -> None:
    open_one = ruling("best", "not_enough_evidence", unsettled=["other", "cheap"], more_images=1300)
    assert say_decision(open_one, facts) == (
        "Not enough evidence: best, the best on val, has 88.1% accuracy on defective against 84.3% for cheap (+3.8 "
        "points, 95% interval +1.6 to +6.0, p=0.001), while cheap costs 11% of the training time and as much to run; "
        "about 1,300 more test images (there are 656) would settle which to ship."
    )
    never = say_decision(ruling("best", "not_enough_evidence", unsettled=["cheap"]), facts)
    assert never.endswith("no number of test images would tell them apart, for they are equal and the margin is 0.")


def test_val_and_test_disagree(facts: Facts) -> None:
    worse = {"cheap": Difference(-0.05, Interval(-0.08, -0.02), 0.01, 0.001)}
    refuted = Facts(**{**facts.__dict__, "differences": worse})
    said = say_decision(ruling("best", "not_enough_evidence", refuting=["cheap"]), refuted)
    assert said.startswith(
        "Not enough evidence: val and test disagree. best is the best on val, but on test it has 88.1%"
    )
    assert "(-5.0 points, 95% interval -8.0 to -2.0, p=0.001)" in said
