"""Classes that form a tree: who is whose parent, and one path for all levels from what their heads say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Floats, Ints
from meltpoint.errors import UserError

SHOWN = 5  # classes with several parents that a message lists
SMALLEST = 1e-12  # a probability of 0 would forbid a path whatever the other levels say

Parents = dict[str, dict[str, str]]  # of each level but the first: class -> parent class, one level up


class TreeError(UserError, ValueError):
    """Classes do not form a tree."""


@dataclass(frozen=True, eq=False)
class Tree:
    """Levels from the root's to the leaves', and `paths` int64 (P, L): the class ids of each leaf and its ancestors."""

    levels: tuple[str, ...]
    paths: Ints


def derive_parents(labels: Mapping[str, "pd.Series[str]"], levels: Sequence[str]) -> Parents:
    """The parent of each class, as rows (N,) labelled on both levels have it.

    Raises:
        TreeError: a class has several parents.
    """
    parents: Parents = {}
    for above, level in pairwise(levels):
        pairs = pd.DataFrame({"child": labels[level], "parent": labels[above]}).dropna().astype(str)
        found: dict[str, dict[str, int]] = {}
        for child, own in pairs.groupby("child")["parent"]:
            found[str(child)] = {str(parent): int(count) for parent, count in own.value_counts().items()}
        several = [f"  {child!r} under {own}" for child, own in found.items() if len(own) > 1]
        if several:
            more = [f"  and {len(several) - SHOWN} more"] if len(several) > SHOWN else []
            shown = "\n".join([*several[:SHOWN], *more])
            raise TreeError(
                f"The classes of {level!r} and {above!r} form no tree: each class needs one parent, and {len(several)}"
                f" of {len(found)} have several (with counts of images):\n{shown}\n"
                "Correct these labels in the source, give tree.parents by hand, or set tree: null."
            )
        parents[level] = {child: next(iter(own)) for child, own in found.items()}
    return parents


def build_tree(levels: Sequence[str], parents: Parents, classes: Mapping[str, list[str]]) -> Tree:
    """The tree over the classes of heads (`classes` by level, in the order of their ids).

    Raises:
        TreeError: a class has no parent, or one that is no class of the level above, or no leaf.
    """
    ids = {level: {name: number for number, name in enumerate(classes[level])} for level in levels}
    paths = []
    for number, leaf in enumerate(classes[levels[-1]]):
        path, name = [number], leaf
        for level, above in pairwise(reversed(levels)):
            parent = parents.get(level, {}).get(name)
            if parent not in ids[above]:
                what = "has no parent" if parent is None else f"has the parent {parent!r}"
                raise TreeError(
                    f"The class {name!r} of {level!r} {what}; the classes of {above!r} are {list(ids[above])}. Every"
                    f" class needs one of them: correct the labels, or tree.parents.{level}."
                )
            name = str(parent)
            path.append(ids[above][name])
        paths.append(path[::-1])
    for column, level in enumerate(levels):
        used = {path[column] for path in paths}
        bare = [name for number, name in enumerate(classes[level]) if number not in used]
        if bare:  # it could never be the answer
            raise TreeError(
                f"No class of {levels[-1]!r} is below {bare} of {level!r}, which could never be the answer. Every class"
                f" needs one: correct the labels, or tree.parents, or take {levels[-1]!r} out of tree.levels."
            )
    return Tree(tuple(levels), np.asarray(paths, dtype=np.int64))


def weigh_paths(tree: Tree, probabilities: Mapping[str, NDArray[np.floating]]) -> Floats:
    """The probability (N, P) of each path: the product of its classes' (N, C) on every level, over all paths 1.

    A head with a NaN in a row (no answer) gives a row of NaN.
    """
    total = np.zeros((len(probabilities[tree.levels[0]]), len(tree.paths)))
    for column, level in enumerate(tree.levels):
        total += np.log(np.clip(probabilities[level].astype(np.float64), SMALLEST, None))[:, tree.paths[:, column]]
    weights = np.exp(total - total.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def weigh_classes(tree: Tree, weights: Floats, n_classes: Mapping[str, int]) -> dict[str, Floats]:
    """The probability (N, C) of each class of each level: the sum over the paths (N, P) that it is on."""
    found = {}
    for column, level in enumerate(tree.levels):
        member = np.zeros((len(tree.paths), n_classes[level]))
        member[np.arange(len(tree.paths)), tree.paths[:, column]] = 1
        found[level] = weights @ member
    return found


def decide(
    probabilities: Mapping[str, NDArray[np.floating]], thresholds: Mapping[str, float | None], tree: Tree | None
) -> dict[str, Ints]:
    """The answer int64 (N,) of each head to probabilities (N, C).

    Levels of a tree are decided together, by the most probable path. Else two classes go by the head's threshold, if it
    has one, and the most probable class is the answer.
    """
    answers = {}
    for head, values in probabilities.items():
        threshold = thresholds[head]
        answers[head] = values.argmax(1) if threshold is None else (values[:, 1] >= threshold).astype(np.int64)
    if tree is not None:
        best = weigh_paths(tree, probabilities).argmax(1)
        answers |= {level: tree.paths[best, column] for column, level in enumerate(tree.levels)}
    return answers


def rate(
    probabilities: Mapping[str, NDArray[np.floating]], answers: Mapping[str, Ints], tree: Tree | None
) -> dict[str, NDArray[np.floating]]:
    """How probable the answer (N,) of each head is: on the levels of a tree, over all paths that agree with it."""
    shown = weigh(probabilities, tree)
    return {head: values[np.arange(len(values)), answers[head]] for head, values in shown.items()}


def weigh(probabilities: Mapping[str, NDArray[np.floating]], tree: Tree | None) -> dict[str, NDArray[np.floating]]:
    """The probabilities (N, C) to show: for levels of a tree those of its paths, else the head's own."""
    if tree is None:
        return dict(probabilities)
    n_classes = {level: probabilities[level].shape[1] for level in tree.levels}
    return {**probabilities, **weigh_classes(tree, weigh_paths(tree, probabilities), n_classes)}
