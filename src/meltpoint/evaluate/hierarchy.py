"""What a tree of classes changes: every level decided alone, as its head says, against all levels decided together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Ints
from meltpoint.evaluate.predictions import answers_of, codes_of, probabilities_of
from meltpoint.metrics import confusion, from_confusion
from meltpoint.model.card import HeadCard
from meltpoint.trees import Tree, decide

LEVEL_SCORES = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Decoding:
    """What one way to decide is worth.

    `levels` is level -> score. `distances` counts mistakes by the edges between the true leaf and the answered one; two
    leaves under one parent are 2 apart. `precision` and `recall` are hierarchical: Silla and Freitas, A survey of
    hierarchical classification, Data Mining and Knowledge Discovery 22 (2011), over the classes answered and the true
    ones, each with its ancestors and without the root, summed over images. They are equal where all answers are paths,
    for paths are equally long.
    """

    levels: dict[str, dict[str, float]]
    distances: dict[int, int]
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of the hierarchical precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def tree_distance(self) -> float | None:
        """Edges that a mistake is off, on average; None if there is no mistake."""
        mistakes = sum(self.distances.values())
        edges = sum(distance * count for distance, count in self.distances.items())
        return edges / mistakes if mistakes else None

    @property
    def metrics(self) -> dict[str, Any]:
        """Plain numbers; `distances` by edges, as text."""
        distance = self.tree_distance
        return {
            "levels": {
                level: {name: round(value, 6) for name, value in scores.items()}
                for level, scores in self.levels.items()
            },
            "tree_distance": None if distance is None else round(distance, 6),
            "distances": {str(edges): count for edges, count in self.distances.items()},
            "hierarchical_precision": round(self.precision, 6),
            "hierarchical_recall": round(self.recall, 6),
            "hierarchical_f1": round(self.f1, 6),
        }


@dataclass(frozen=True)
class TreeJudgement:
    """A tree on one split: `images` are labelled on every level, `left_out` are not.

    `consistency` is the share of images for which the answers of the heads alone form a path. Without images it and the
    two decodings are None.
    """

    images: int
    left_out: int
    consistency: float | None
    independent: Decoding | None
    consistent: Decoding | None

    @property
    def metrics(self) -> dict[str, Any]:
        """Plain numbers: images, left_out, consistency, and of both decodings `Decoding.metrics`."""
        return {
            "images": self.images,
            "left_out": self.left_out,
            "consistency": None if self.consistency is None else round(self.consistency, 6),
            "independent": self.independent and self.independent.metrics,
            "consistent": self.consistent and self.consistent.metrics,
        }


def judge_tree(table: pd.DataFrame, heads: Mapping[str, HeadCard], tree: Tree) -> TreeJudgement:
    """Judge the levels of a tree in a table of predictions (see `tables.check_predictions`).

    Independent is what each head answers alone, by its threshold or its most probable class; consistent is what the
    table has as answers.
    """
    true = _columns({level: codes_of(table, level, heads[level].classes) for level in tree.levels})
    kept = np.flatnonzero((true >= 0).all(1))
    true, left_out = true[kept], len(table) - len(kept)
    table = table.iloc[kept]
    if not len(true):
        return TreeJudgement(0, left_out, None, None, None)
    levels = {level: heads[level] for level in tree.levels}
    probabilities = {level: probabilities_of(table, level, card.classes) for level, card in levels.items()}
    alone = _columns(decide(probabilities, {level: card.threshold for level, card in levels.items()}, None))
    predicted = _columns({level: answers_of(table, level, card.classes) for level, card in levels.items()})
    sizes = [len(card.classes) for card in levels.values()]
    return TreeJudgement(
        images=len(true),
        left_out=left_out,
        consistency=float(form_paths(tree, alone).mean()),
        independent=judge_decoding(tree, true, alone, sizes),
        consistent=judge_decoding(tree, true, predicted, sizes),
    )


def judge_decoding(tree: Tree, true: Ints, predicted: Ints, sizes: list[int]) -> Decoding:
    """Judge answers (N, L) against true class ids (N, L) on levels with so many classes."""
    edges, counts = np.unique(leaf_distances(tree, true[:, -1], predicted[:, -1]), return_counts=True)
    hits, answered, there = count_ancestors(tree, true, predicted, sizes)
    counts_of = [confusion(true[:, column], predicted[:, column], size) for column, size in enumerate(sizes)]
    return Decoding(
        levels={
            level: {name: float(value) for name, value in scores.items() if name in LEVEL_SCORES}
            for level, scores in zip(tree.levels, map(from_confusion, counts_of), strict=True)
        },
        distances={int(distance): int(count) for distance, count in zip(edges, counts, strict=True) if distance},
        precision=hits / answered,
        recall=hits / there,
    )


def form_paths(tree: Tree, predicted: Ints) -> NDArray[np.bool_]:
    """Which answers (N, L) are a path: the ancestors of the answered leaf are what the other levels answer."""
    return np.asarray((tree.paths[predicted[:, -1]] == predicted).all(1))


def leaf_distances(tree: Tree, true: Ints, predicted: Ints) -> Ints:
    """Edges (N,) between leaves: up from one to the first common ancestor, which may be the root, and down again."""
    shared = (tree.paths[true] == tree.paths[predicted]).sum(1)
    return np.asarray(2 * (len(tree.levels) - shared))


def count_ancestors(tree: Tree, true: Ints, predicted: Ints, sizes: list[int]) -> tuple[int, int, int]:
    """Classes that are both answered and true, that are answered, and that are true, ancestors counted, over images."""
    hits = answered = there = 0
    rows = np.arange(len(true))
    for column, size in enumerate(sizes):
        found, wanted = (np.zeros((len(rows), size), dtype=np.bool_) for _ in range(2))
        for member, answers in ((found, predicted), (wanted, true)):
            member[rows, answers[:, column]] = True
            for below in range(column + 1, len(sizes)):
                above = np.full(sizes[below], -1)  # a class without leaves stands nowhere in the tree
                above[tree.paths[:, below]] = tree.paths[:, column]
                ids = above[answers[:, below]]
                member[rows[ids >= 0], ids[ids >= 0]] = True
        hits += int((found & wanted).sum())
        answered += int(found.sum())
        there += int(wanted.sum())
    return hits, answered, there


def _columns(answers: Mapping[str, Ints]) -> Ints:
    return np.stack(list(answers.values()), axis=1)
