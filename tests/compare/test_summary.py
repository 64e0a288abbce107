from dataclasses import replace
from typing import Any

import pytest

from meltpoint.compare.intervals import Interval
from meltpoint.compare.measured import Difference
from meltpoint.compare.summary import Facts, say_decision
from meltpoint.compare.verdict import Needed, Ruling
from meltpoint.params.judging import Compare

COSTS = {"train_seconds": 10.0, "latency_p50_ms": 10.0, "parameters": 5.0}
AHEAD = Difference(0.038, Interval(0.016, 0.060), 0.011, 0.0012)
NEAR = Difference(0.020, Interval(-0.004, 0.044), 0.012, 0.1)


@pytest.fixture
def facts(settings: Compare) -> Facts:
    """`best` is 3.8 points ahead of `cheap`; it trains nine times as long."""
    return Facts(
        main_head="defective",
        val_images=655,
        test_images=656,
        test_groups=656,
        test_share=0.25,
        val={"best": 0.901, "cheap": 0.88},
        test={"best": 0.881, "cheap": 0.843},
        interval=Interval(0.85, 0.91),
        differences={"cheap": AHEAD},
        trainings=[1, 1],
        costs={"best": COSTS | {"train_seconds": 90.0}, "cheap": COSTS, "other": COSTS | {"train_seconds": 45.0}},
        settings=settings,
    )


def ruling(winner: str, verdict: Any = "ship", needed: Needed | None = None, refusal: str | None = None) -> Ruling:
    return Ruling(winner, verdict, {}, {}, needed, refusal)


def test_what_was_shown_against_one(facts: Facts) -> None:
    assert say_decision(ruling("best"), facts) == (
        "Ship best: 88.1% accuracy on defective against 84.3% for cheap (+3.8 points, 95% interval +1.6 to +6.0, "
        "656 test images); a loss of 1 point or more is ruled out, and it costs 9x the training time and as much to "
        "run."
    )


def test_of_several_the_closest_is_named(facts: Facts) -> None:
    differences = {"cheap": AHEAD, "other": NEAR}
    several = replace(facts, test={**facts.test, "other": 0.861}, differences=differences, test_groups=131)
    said = say_decision(ruling("best"), several)
    assert "against 86.1% for other (+2.0 points, 95% interval -0.4 to +4.4, 656 test images in 131 groups)" in said
    assert "; a loss of 1 point or more against any of the 2 others is ruled out, and it costs 2x the training" in said


def test_the_only_one(facts: Facts) -> None:
    alone = replace(facts, test={"best": 0.881}, differences={})
    assert say_decision(ruling("best"), alone) == (
        "Ship best, the only strategy: 88.1% accuracy on defective (95% interval 85.0% to 91.0%, 656 test images)."
    )


def test_not_enough_says_what_leads_on_what_and_what_would_settle_it(facts: Facts) -> None:
    near = replace(facts, differences={"cheap": NEAR})
    assert say_decision(ruling("best", "not_enough_evidence", Needed(330, 2100)), near) == (
        "Not enough evidence: best leads so far: it has the best score on val (90.1% on 655 images), and on test it "
        "has 88.1% accuracy on defective against 84.3% for cheap (+2.0 points, 95% interval -0.4 to +4.4, 656 test "
        "images); about 1,400 to 8,400 more labelled images, of which test gets 25%, would settle it with a chance of "
        "80%."
    )
    unknown = say_decision(ruling("best", "not_enough_evidence", Needed(330, 330)), replace(near, test_share=None))
    assert unknown.endswith("; about 330 more test images would settle it with a chance of 80%.")
    never = say_decision(ruling("best", "not_enough_evidence"), near)
    assert never.endswith("; more images than anybody could label would be needed to settle it.")


def test_a_metric_that_cannot_decide(facts: Facts) -> None:
    said = say_decision(ruling("best", "not_enough_evidence", refusal="macro F1 cannot decide, because ..."), facts)
    assert said == (
        "Not enough evidence: macro F1 cannot decide, because ...; best leads so far: it has the best score on val "
        "(90.1% on 655 images)."
    )


def test_a_loss_is_no_share(facts: Facts) -> None:
    settings = facts.settings.model_copy(update={"metric": "log_loss"})
    said = say_decision(ruling("best"), replace(facts, settings=settings))
    assert "0.881 log loss on defective against 0.843 for cheap (+0.038 better, 95% interval +0.016 to +0.060" in said
    assert "a loss of 0.01 or more is ruled out" in said
