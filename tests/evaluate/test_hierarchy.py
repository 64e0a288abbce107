"""A tree of two kinds, three groups and four leaves, small enough to count by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meltpoint.evaluate.hierarchy import count_ancestors, form_paths, judge_decoding, judge_tree, leaf_distances
from meltpoint.tables import Classes, answer_column, label_column, probability_columns
from meltpoint.trees import Tree

CLASSES: Classes = {"kind": ["a", "b"], "group": ["a1", "a2", "b1"], "leaf": ["p", "q", "r", "s"]}
SIZES = [2, 3, 4]
TREE = Tree(("kind", "group", "leaf"), np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]))
# by the name of a leaf: its path
P, Q, R, S = TREE.paths


def stack(*paths: Any) -> Any:
    return np.array(paths, dtype=np.int64)


def test_distances_count_edges_up_and_down() -> None:
    true, said = np.array([0, 0, 0, 0]), np.array([0, 1, 2, 3])
    assert leaf_distances(TREE, true, said).tolist() == [0, 2, 4, 6]


def test_answers_form_a_path_or_not() -> None:
    assert form_paths(TREE, stack(P, [0, 1, 0], [1, 0, 0], S, [1, 2, 2])).tolist() == [True, False, False, True, False]


def test_ancestors_of_contradicting_answers_count_too() -> None:
    """Answered are b, a1 and its kind a, and p; true is s under b1 under b."""
    assert count_ancestors(TREE, stack(S), stack([1, 0, 0]), SIZES) == (1, 4, 3)
    assert count_ancestors(TREE, stack(R), stack(P), SIZES) == (1, 3, 3)


def test_a_class_without_leaves_has_no_ancestors() -> None:
    """The third group is nobody's child: the tree has three leaves under the others."""
    tree = Tree(TREE.levels, TREE.paths[:3])
    assert count_ancestors(tree, stack(P), stack([0, 2, 0]), [2, 3, 3]) == (3, 4, 3)


def test_one_decoding_by_hand() -> None:
    found = judge_decoding(TREE, stack(P, P, P, S), stack(P, Q, S, S), SIZES)
    assert found.levels["leaf"]["accuracy"] == 0.5
    assert found.levels["group"]["accuracy"] == found.levels["kind"]["accuracy"] == 0.75
    assert found.distances == {2: 1, 6: 1}
    assert found.tree_distance == 4
    assert found.precision == found.recall == found.f1 == pytest.approx((3 + 2 + 0 + 3) / 12)
    assert judge_decoding(TREE, stack(P), stack(P), SIZES).tree_distance is None


paths = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@hypothesis_settings(deadline=None, max_examples=40)
@given(paths)
def test_paths_score_the_same_by_precision_and_by_recall(pairs: list[tuple[int, int]]) -> None:
    """Both are the mean accuracy over levels; an accuracy never falls on the way to the root."""
    true, said = (TREE.paths[np.array(leaves)] for leaves in zip(*pairs, strict=True))
    found = judge_decoding(TREE, true, said, SIZES)
    accuracies = [scores["accuracy"] for scores in found.levels.values()]
    assert found.precision == found.recall == pytest.approx(np.mean(accuracies))
    assert accuracies == sorted(accuracies, reverse=True)
    assert sum(found.distances.values()) == round((1 - accuracies[-1]) * len(pairs))


def predictions() -> pd.DataFrame:
    """Of four images the first has no group; alone, the heads say a path for the second and third."""
    table = pd.DataFrame({"id": range(4)})
    chances = {
        "kind": [[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.6, 0.4]],
        "group": [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]],
        "leaf": [[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.3, 0.1, 0.2, 0.4]],
    }
    answers = {"kind": list("aaba"), "group": ["a1", "a1", "b1", "a1"], "leaf": list("ppsp")}
    for level, names in CLASSES.items():
        table[label_column(level)] = pd.array(answers[level], dtype="string")
        table[probability_columns(level, names)] = chances[level]
        table[answer_column(level)] = pd.array(answers[level], dtype="string")
    table.loc[0, label_column("group")] = pd.NA
    return table


def test_alone_against_together(cards: Any) -> None:
    found: Any = judge_tree(predictions(), cards(CLASSES), TREE)
    assert (found.images, found.left_out) == (3, 1)
    assert found.consistency == pytest.approx(2 / 3)
    assert found.independent.levels["leaf"]["accuracy"] == pytest.approx(2 / 3), "the last is read as s"
    assert found.independent.distances == {6: 1}
    assert found.independent.precision == pytest.approx((3 + 3 + 2) / (3 + 3 + 5)), "a, a1, and s with b1 and b"
    assert found.independent.recall == pytest.approx(8 / 9)
    assert found.consistent.f1 == 1
    assert found.metrics["independent"]["distances"] == {"6": 1}
    assert found.metrics["consistent"]["tree_distance"] is None


def test_a_head_alone_answers_by_its_threshold(cards: Any, card: Any) -> None:
    heads = cards(CLASSES) | {"kind": card(CLASSES["kind"], threshold=0.05)}
    found: Any = judge_tree(predictions(), heads, TREE)
    assert found.independent.levels["kind"]["accuracy"] == pytest.approx(1 / 3), "everything is b"


def test_nothing_labelled_on_every_level_is_nothing_to_judge(cards: Any) -> None:
    found: Any = judge_tree(predictions().head(1), cards(CLASSES), TREE)
    assert (found.images, found.left_out, found.consistency) == (0, 1, None)
    assert found.metrics["consistent"] is None
