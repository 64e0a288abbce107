"""Descriptions say what was decided, what it cost, and what is new."""

from dataclasses import replace

from meltpoint.comparison import ComparedStrategy, Comparison
from meltpoint.tracking.descriptions import MOST_CHANGES, describe_changes, describe_decision, name_decision

SCORES = {split: {"shape": {"accuracy": 0.875}} for split in ("val", "test")}
DECISION = Comparison(
    winner="frozen", verdict="ship", sentence="Ship frozen.", main_head="shape", metric="accuracy",
    strategies=[
        ComparedStrategy(name=name, metrics=SCORES, intervals={}, cost={"train_seconds": 30.0})
        for name in ("frozen", "finetune")
    ],
)  # fmt: skip


def test_the_decision_is_named_and_described() -> None:
    assert name_decision(DECISION) == "ship frozen"
    assert name_decision(replace(DECISION, verdict="not_enough_evidence")) == "frozen for now, not enough evidence"
    assert describe_decision(DECISION).splitlines() == [
        "Ship frozen.",
        "",
        "| strategy | accuracy on shape, test | val | training time |",
        "| --- | --- | --- | --- |",
        "| **frozen** | 87.5% | 87.5% | 30 s |",
        "| finetune | 87.5% | 87.5% | 30 s |",
    ]


def test_the_encoder_and_its_size_stand_beside_the_strategy_where_they_are_known() -> None:
    strategies = [replace(row, encoder="tf_efficientnet_lite0", side=128) for row in DECISION.strategies]
    lines = describe_decision(replace(DECISION, strategies=strategies)).splitlines()
    assert lines[2].startswith("| strategy | encoder | accuracy on shape, test |")
    assert lines[4].startswith("| **frozen** | tf_efficientnet_lite0 at 128 px | 87.5% |")


def test_changes_are_told_in_short() -> None:
    assert describe_changes([]) == ""
    assert "`seed` 7 → 8." in describe_changes([("seed", "7", "8")])
    many = [(f"p{number}", "x" * 100, "y") for number in range(MOST_CHANGES + 3)]
    assert describe_changes(many).endswith("and 3 more.")
    assert "x" * 50 not in describe_changes(many)


def test_no_name_of_the_data_is_markup() -> None:
    sentence = "Nothing is decided, for a|b *x* <img src=x> and [click](http://x) are rare."
    described = describe_decision(replace(DECISION, sentence=sentence)).splitlines()[0]
    assert described == r"Nothing is decided, for a\|b \*x\* \<img src=x\> and \[click\](http://x) are rare."
    changed = describe_changes([("train.class_weights.`*x*", "1", "2")])
    assert r"train.class\_weights.\`\*x\* 1" in changed
