"""Which rows the page and the text show."""

from typing import Any

import numpy as np
import pytest

from meltpoint.compare.decision import compare
from meltpoint.compare.decision_files import record_of, write_decision
from meltpoint.compare.formatting import flattery
from meltpoint.compare.table import ENDS, MOST_CLASSES, branches_of, say_flattered, shown_classes, write_text
from meltpoint.model.card import TreeCard
from meltpoint.params.heads import Threshold
from meltpoint.params.judging import Compare
from meltpoint.registry.holdout_reuse import HoldoutReuse
from meltpoint.tables import Classes, label_column

MANY = [f"c{number}" for number in range(MOST_CLASSES + 6)]
TREE = TreeCard(
    levels=["group", "leaf"], parents={"leaf": {name: ("low", "high")[number > 9] for number, name in enumerate(MANY)}}
)
CLASSES: Classes = {"leaf": MANY, "group": ["low", "high"]}


@pytest.fixture
def grown(reports: Any, cards: Any) -> Any:
    return type(reports)(reports.folder, CLASSES, cards(CLASSES), TREE)


def test_of_many_classes_the_ends_are_shown(grown: Any, settings: Compare) -> None:
    decision = compare(grown.results(images=300, one=(0.3, 1.0), two=(0.1, 2.0)), settings)
    (_, hardest), (_, easiest) = shown_classes(decision)
    scores = decision.results.metrics[decision.winner]["test"]["leaf"]["classes"]
    assert len(hardest) == len(easiest) == ENDS
    assert not set(hardest) & set(easiest)
    assert max(scores[name]["f1"] for name in hardest) <= min(scores[name]["f1"] for name in easiest)
    write_decision(decision, grown.folder)
    page = (grown.folder / "compare.html").read_text()
    assert "10 hardest and 10 easiest of 30 classes" in page
    assert hardest[0] in page


def test_how_much_the_best_flatters_itself_is_one_number(reports: Any, settings: Compare) -> None:
    """What the report says of this round is what the count of rounds begins with."""
    decision = compare(reports.results(one=(0.3, 1.0), two=(0.1, 2.0), three=(0.2, 2.0)), settings)
    spread = record_of(decision).spread
    differences = [pair.difference for pair in decision.pairs if pair.split == "test" and pair.difference]
    assert 2**0.5 * spread == pytest.approx(np.median([one.standard_error for one in differences]))
    told = f"would score about {flattery('accuracy', 3, spread)} too high"
    assert told in say_flattered(decision)
    assert told.removesuffix(" too high") in str(HoldoutReuse(3, 200, "accuracy", spread))
    alone = compare(type(reports)(reports.folder.parent / "alone").results(one=(0.3, 1.0)), settings)
    assert (record_of(alone).spread, say_flattered(alone)) == (None, "")


def test_few_classes_are_all_shown(reports: Any, settings: Compare) -> None:
    decision = compare(reports.results(one=(0.3, 1.0)), settings)
    assert shown_classes(decision) == [("", ["intact", "defective"])]
    assert branches_of(decision) == []
    assert "tree" not in write_text(decision)
    write_decision(decision, reports.folder)
    assert "What the tree does" not in (reports.folder / "compare.html").read_text()


def test_a_tree_has_both_ways_of_every_strategy(grown: Any, settings: Compare) -> None:
    decision = compare(grown.results(images=300, one=(0.3, 1.0), two=(0.1, 2.0)), settings)
    found = branches_of(decision)
    assert [(branch.name, branch.together) for branch in found] == [
        ("one", False), ("one", True), ("two", False), ("two", True),
    ]  # fmt: skip
    assert record_of(decision).trees["two"]["test"]["consistent"] == found[3].test
    assert "| one      | the tree decides | " in write_text(decision)
    write_decision(decision, grown.folder)
    page = (grown.folder / "compare.html").read_text()
    assert "What the tree does" in page
    assert f"Alone, the heads of {decision.winner} give a path of the tree for" in page


def test_a_tree_that_no_image_is_labelled_for_is_left_out(grown: Any, predict: Any, settings: Compare) -> None:
    table = predict(0.1, 1, classes=CLASSES)
    table.loc[table["split"] == "val", label_column("group")] = None
    grown.add("one", table)
    decision = compare(grown.read("one"), settings)
    assert branches_of(decision) == []
    write_decision(decision, grown.folder)
    assert "What the tree does" not in (grown.folder / "compare.html").read_text()


def test_what_val_taught_is_told_beside_what_test_gives(reports: Any, card: Any, settings: Compare) -> None:
    wished = Threshold(metric="recall", at_least=0.95)
    cards = {
        "screen": card(["no", "yes"], threshold=0.3125, wished=wished),
        "level": card(["low", "middle", "high"], target="ordinal", below=0.4321, right=0.9),
    }
    reports = type(reports)(reports.folder, {name: own.classes for name, own in cards.items()}, cards)
    decision = compare(reports.results(one=(0.1, 1.0)), settings)
    write_decision(decision, reports.folder)
    page = (reports.folder / "compare.html").read_text()
    assert (
        "yes is the answer if its probability is at least 0.312 (one); this threshold was set on val for a recall of "
        "at least 95% with 95% confidence." in page
    )
    assert (
        "Answers with a confidence below 0.432 (one) are “unknown”; this limit was set on val so that 90% of the other"
        in page
    )
    assert '<th scope="col">recall<small>at least 95%</small></th>' in page
    assert '<th scope="col">quadratic kappa</th><th scope="col">steps off</th>' in page
    assert '<th scope="col">answered</th><th scope="col">right if answered<small>at least 90%</small></th>' in page


def test_kappa_decides_among_ordinal_heads_only(reports: Any, card: Any, settings: Compare) -> None:
    cards = {"level": card(["low", "middle", "high"], target="ordinal"), "colour": card(["red", "green", "blue"])}
    reports = type(reports)(reports.folder, {name: own.classes for name, own in cards.items()}, cards)
    settings = settings.model_copy(update={"metric": "quadratic_kappa"})
    decision = compare(reports.results(images=300, poor=(0.4, 1.0), good=(0.05, 2.0)), settings)
    assert decision.winner == "good"
    assert list(decision.rows[0].intervals["test"]) == ["level"]
    write_decision(decision, reports.folder)
    assert "quadratic kappa on level" in (reports.folder / "compare.html").read_text()
