from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from meltpoint.trees import (
    Tree,
    TreeError,
    build_tree,
    decide,
    derive_parents,
    rate,
    weigh_classes,
    weigh_paths,
)

LEVELS = ("gesture", "family", "pose")
CLASSES = {
    "gesture": ["standing", "sitting"],
    "family": ["bent", "straight", "crossed"],
    "pose": ["triangle", "mountain", "lotus", "tree"],
}
PARENTS = {
    "family": {"bent": "standing", "straight": "standing", "crossed": "sitting"},
    "pose": {"triangle": "bent", "mountain": "straight", "lotus": "crossed", "tree": "straight"},
}
PATHS = [(0, 0, 0), (0, 1, 1), (1, 2, 2), (0, 1, 3)]

Probabilities = dict[str, NDArray[np.float64]]


def labels(*rows: tuple[str | None, str | None, str | None]) -> dict[str, "pd.Series[str]"]:
    return {level: pd.Series([row[index] for row in rows], dtype="string") for index, level in enumerate(LEVELS)}


@pytest.fixture
def tree() -> Tree:
    return build_tree(LEVELS, PARENTS, CLASSES)


@st.composite
def forests(draw: st.DrawFn) -> tuple[Tree, Probabilities]:
    """A tree of three levels in which each class has a leaf, and what its heads might say of a few images."""
    sizes = [draw(st.integers(2, 3))]
    for _ in range(2):
        sizes.append(draw(st.integers(sizes[-1], sizes[-1] + 3)))
    classes = {level: [f"{level}{number}" for number in range(size)] for level, size in zip("abc", sizes, strict=True)}
    parents = {}
    for above, level in pairwise("abc"):
        ids = [
            number if number < len(classes[above]) else draw(st.integers(0, len(classes[above]) - 1))
            for number in draw(st.permutations(range(len(classes[level]))))
        ]
        parents[level] = {name: classes[above][number] for name, number in zip(classes[level], ids, strict=True)}
    seed, rows = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 4))
    rng = np.random.default_rng(seed)
    found = {level: rng.dirichlet([draw(st.sampled_from([0.05, 1.0]))] * len(names), rows)
             for level, names in classes.items()}  # fmt: skip
    return build_tree("abc", parents, classes), found


def undecided(tree: Tree) -> dict[str, float | None]:
    return dict.fromkeys(tree.levels)


def test_parents_are_those_of_rows_labelled_on_both_levels() -> None:
    found = derive_parents(
        labels(
            ("standing", "bent", "triangle"),
            ("standing", "straight", None),
            (None, "straight", "tree"),
            ("sitting", None, "lotus"),
        ),
        LEVELS,
    )
    assert found == {
        "family": {"bent": "standing", "straight": "standing"},
        "pose": {"triangle": "bent", "tree": "straight"},
    }


def test_classes_with_several_parents_are_listed_with_counts() -> None:
    rows = [(f"g{number % 2}", f"f{number // 2}", None) for number in range(14)]
    with pytest.raises(TreeError) as caught:
        derive_parents(labels(*rows, ("g0", "f0", None), ("g0", "fine", None)), LEVELS)
    message = str(caught.value)
    assert "7 of 8 have several" in message
    assert "'f0' under {'g0': 2, 'g1': 1}" in message
    assert "and 2 more" in message
    assert "fine" not in message


def test_each_leaf_has_its_path(tree: Tree) -> None:
    assert [tuple(path) for path in tree.paths.tolist()] == PATHS


@pytest.mark.parametrize(
    ("level", "change", "message"),
    [
        ("pose", {"lotus": None}, r"'lotus' of 'pose' has no parent; the classes of 'family' are \['bent'"),
        ("family", {"bent": "lying"}, r"'bent' of 'family' has the parent 'lying'; .*tree\.parents\.family"),
        ("gesture", {}, r"below \['lying'\] of 'gesture'"),
    ],
)
def test_classes_without_a_parent_or_a_leaf_are_told(level: str, change: dict[str, str], message: str) -> None:
    classes = CLASSES if level != "gesture" else {**CLASSES, "gesture": ["standing", "sitting", "lying"]}
    parents = PARENTS if level == "gesture" else {**PARENTS, level: {**PARENTS[level], **change}}
    with pytest.raises(TreeError, match=message):
        build_tree(LEVELS, parents, classes)


@given(forests())
def test_paths_weigh_one_together_and_as_their_products(forest: tuple[Tree, Probabilities]) -> None:
    tree, probabilities = forest
    weights = weigh_paths(tree, probabilities)
    assert weights.sum(1) == pytest.approx(1)
    for row, own in enumerate(weights):
        products = [
            np.prod([max(probabilities[level][row, path[column]], 1e-12) for column, level in enumerate(tree.levels)])
            for path in tree.paths
        ]
        assert own == pytest.approx(np.array(products) / sum(products), rel=1e-6)


@given(forests())
def test_classes_weigh_as_the_paths_through_them(forest: tuple[Tree, Probabilities]) -> None:
    tree, probabilities = forest
    weights = weigh_paths(tree, probabilities)
    sizes = {level: values.shape[1] for level, values in probabilities.items()}
    for column, level in enumerate(tree.levels):
        found = weigh_classes(tree, weights, sizes)[level]
        for number in range(sizes[level]):
            members = [path for path, own in enumerate(tree.paths) if own[column] == number]
            assert found[:, number] == pytest.approx(weights[:, members].sum(1))


@given(forests())
def test_answers_are_always_one_path(forest: tuple[Tree, Probabilities]) -> None:
    tree, probabilities = forest
    answers = decide(probabilities, undecided(tree), tree)
    paths = {tuple(path) for path in tree.paths.tolist()}
    assert set(zip(*(answers[level].tolist() for level in tree.levels), strict=True)) <= paths


@given(forests())
def test_an_answer_is_as_probable_as_the_paths_that_agree(forest: tuple[Tree, Probabilities]) -> None:
    tree, probabilities = forest
    answers, weights = decide(probabilities, undecided(tree), tree), weigh_paths(tree, probabilities)
    rated = rate(probabilities, answers, tree)
    for column, level in enumerate(tree.levels):
        agree = tree.paths[None, :, column] == answers[level][:, None]
        assert rated[level] == pytest.approx((weights * agree).sum(1))
        assert (rated[level] >= weights.max(1) - 1e-12).all()


def test_levels_that_agree_are_left_as_they_are(tree: Tree) -> None:
    sure = {level: np.full((4, len(names)), 0.1) for level, names in CLASSES.items()}
    for row, path in enumerate(PATHS):
        for level, number in zip(LEVELS, path, strict=True):
            sure[level][row, number] = 0.9
    answers = decide(sure, undecided(tree), tree)
    assert list(zip(*(answers[level].tolist() for level in LEVELS), strict=True)) == PATHS


def test_the_sure_level_corrects_the_unsure_one(tree: Tree) -> None:
    said = {
        "gesture": np.array([[0.02, 0.98]]),
        "family": np.array([[0.4, 0.3, 0.3]]),
        "pose": np.array([[0.3, 0.3, 0.25, 0.15]]),
    }
    apart, together = decide(said, undecided(tree), None), decide(said, undecided(tree), tree)
    assert [int(apart[level][0]) for level in LEVELS] == [1, 0, 0]
    assert [int(together[level][0]) for level in LEVELS] == [1, 2, 2]


def test_no_answer_weighs_nothing(tree: Tree) -> None:
    said = {level: np.full((2, len(names)), 1 / len(names)) for level, names in CLASSES.items()}
    said["family"][1] = np.nan
    weights = weigh_paths(tree, said)
    assert weights[0] == pytest.approx(0.25)
    assert np.isnan(weights[1]).all()


def test_a_threshold_parts_two_classes_and_others_go_by_probability(tree: Tree) -> None:
    said = {
        "screen": np.array([[0.8, 0.2], [0.71, 0.29], [0.7, 0.3], [0.1, 0.9]]),
        "paper": np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.1, 0.9]]),
        **{level: np.full((4, len(names)), 1 / len(names)) for level, names in CLASSES.items()},
    }
    answers = decide(said, {"screen": 0.3, "paper": None, **undecided(tree)}, tree)
    assert answers["screen"].tolist() == [0, 0, 1, 1]
    assert answers["paper"].tolist() == [0, 1, 0, 1]
    assert {values.dtype for values in answers.values()} == {np.dtype(np.int64)}
    rated = rate(said, answers, tree)
    assert rated["screen"].tolist() == [0.8, 0.71, 0.3, 0.9]
