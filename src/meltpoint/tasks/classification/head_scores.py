"""Scores that only some heads have: of classes that are steps, of many classes, of thresholds set on val."""

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Floats, Ints
from meltpoint.metrics import from_confusion, steps
from meltpoint.model.card import HeadCard
from meltpoint.params.model import Coverage

Scores = dict[str, float | None]

LIKELY = 5  # answers among which the true one is looked for, where there are more classes


def score_steps(counts: Ints, card: HeadCard) -> Scores:
    """Of an ordinal head, from its confusion matrix (C, C): mean distance in steps, quadratic weighted kappa."""
    if card.head.target != "ordinal":
        return {}
    if not counts.sum():
        return dict.fromkeys(["mean_absolute_error", "quadratic_kappa"])
    distance = float((counts * steps(len(counts))).sum() / counts.sum())
    return {"mean_absolute_error": distance, "quadratic_kappa": float(from_confusion(counts)["quadratic_kappa"])}


def score_likely(true: Ints, probabilities: Floats) -> Scores:
    """Of a head with more than five classes: how often the true one is among the five most probable.

    Ties count against it: classes that are as probable stand before the true one, so that a head which tells nothing
    apart is right in none, not in all.
    """
    if probabilities.shape[1] <= LIKELY:
        return {}
    given = probabilities[np.arange(len(true)), true][:, None]
    return {f"top_{LIKELY}_accuracy": _mean((probabilities >= given).sum(1) <= LIKELY)}


def score_threshold(counts: Ints, card: HeadCard) -> Scores:
    """Of a head that was asked for a threshold: precision and recall of its second class, for what it answers.

    Also where val could not show the wish and there is no threshold, so that all strategies have the same scores.
    """
    if card.threshold is None and card.head.threshold is None:
        return {}
    hits, found, there = (float(number) for number in (counts[1, 1], counts[:, 1].sum(), counts[1].sum()))
    return {"precision": hits / found if found else None, "recall": hits / there if there else None}


def score_unknown(true: Ints, said: Ints, trusted: Floats, card: HeadCard) -> Scores:
    """Of a head that was asked to say "unknown": the share of images it answers, and how often these are right.

    Where it was asked for a coverage also `set_coverage`, the share of images whose true class is in its set. `trusted`
    (N, C) are the probabilities that it shows.
    """
    if card.unknown_below is None and card.head.unknown is None:
        return {}
    sure = ~card.find_unknown(trusted, said)
    scores = {"coverage": _mean(sure), "answered_accuracy": _mean((said == true)[sure])}
    if isinstance(card.head.unknown, Coverage):
        given, least = trusted[np.arange(len(true)), true], card.unknown_below
        scores["set_coverage"] = None if least is None else _mean(given >= least)
    return scores


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None
