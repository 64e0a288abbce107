"""Confusion of many classes: in the order of the tree, the most frequent ones listed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.evaluate.confusion import LISTED, NAMED, arrange, commonest, draw_confusion
from meltpoint.evaluate.judgement import HeadJudgement
from meltpoint.model.card import TreeCard
from meltpoint.tables import Classes
from meltpoint.tasks.classification.metrics import judge_heads

MANY = [f"a rather long name of the class number {number}" for number in range(NAMED + 5)]
CLASSES: Classes = {"group": ["even", "odd"], "leaf": MANY}
TREE = TreeCard(
    levels=["group", "leaf"], parents={"leaf": {name: ("even", "odd")[number % 2] for number, name in enumerate(MANY)}}
)


@pytest.fixture
def judged(predict: Any, cards: Any) -> dict[str, HeadJudgement]:
    return judge_heads(predict(0.3, 1, images=90, classes=CLASSES), cards(CLASSES), None, 5).splits["test"]


def test_classes_stand_under_their_parents() -> None:
    order, groups = arrange("leaf", CLASSES, TREE)
    assert order == [*range(0, len(MANY), 2), *range(1, len(MANY), 2)]
    assert groups == {"even": 23, "odd": 22}


@pytest.mark.parametrize(("head", "tree"), [("leaf", None), ("group", TREE)])
def test_without_parents_the_order_is_that_of_the_ids(head: str, tree: TreeCard | None) -> None:
    assert arrange(head, CLASSES, tree) == (list(range(len(CLASSES[head]))), {})


def test_a_parent_that_is_no_class_comes_first() -> None:
    tree = TreeCard(levels=["group", "leaf"], parents={"leaf": {MANY[1]: "odd"}})
    order, groups = arrange("leaf", {**CLASSES, "leaf": MANY[:3]}, tree)
    assert order == [0, 2, 1]
    assert groups == {"": 2, "odd": 1}


def test_the_commonest_confusions_come_first(judged: dict[str, HeadJudgement]) -> None:
    head = judged["leaf"]
    found = commonest(head)
    counts = [count for _, _, count, _ in found]
    assert counts == sorted(counts, reverse=True)
    assert 0 < len(found) <= LISTED
    for true, said, count, share in found:
        row = head.confusion[head.classes.index(true)]
        assert true != said
        assert count == row[head.classes.index(said)]
        assert share == pytest.approx(count / row.sum())


@pytest.mark.parametrize("tree", [None, TREE])
@pytest.mark.parametrize("heads", [["leaf"], ["group"], ["group", "leaf"]])
def test_any_mixture_is_drawn(
    judged: dict[str, HeadJudgement], heads: list[str], tree: TreeCard | None, tmp_path: Path
) -> None:
    known = {head: judged[head] for head in (heads if tree is None else judged)}
    draw_confusion(known, tree, "title", False, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert max(picture.size) < 2500
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_no_mistakes_are_drawn_too(predict: Any, cards: Any, tmp_path: Path) -> None:
    judged = judge_heads(predict(0.0, 1, images=90, classes=CLASSES), cards(CLASSES), None, 5).splits["test"]
    assert commonest(judged["leaf"]) == []
    draw_confusion(judged, TREE, "title", False, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000
