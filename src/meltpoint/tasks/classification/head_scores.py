"""Scores that only some heads have: of classes that are steps, of many classes, and of what val taught a head."""

from typing import Any

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


def say_learnt(card: HeadCard) -> dict[str, Any]:
    """The threshold and the wish it comes from, and below which confidence an answer is unknown; None if there is none.

    threshold: {at, metric, at_least}, unknown: {below, right} where `right` is the wished share of right answers, or
    {below, right: None, coverage} where sets are to hold the true class that often. `not_shown` are the wishes that
    val could not show, in words.
    """
    threshold, unknown, not_shown = None, None, list[str]()
    wished, doubt = card.head.threshold, card.head.unknown
    if card.threshold is not None:
        threshold = {"at": card.threshold, **(wished.model_dump() if wished else {"metric": None, "at_least": None})}
    elif wished is not None:
        not_shown.append(
            f"a {wished.metric} of at least {wished.at_least:.3g}, so the more probable class is the answer"
        )
    sets = isinstance(doubt, Coverage)
    if card.unknown_below is not None:
        unknown = {"below": card.unknown_below, "right": None if sets else doubt}
        unknown |= {"coverage": doubt.coverage} if isinstance(doubt, Coverage) else {}
    elif doubt is not None:
        what = f"a coverage of {doubt.coverage:.3g}" if isinstance(doubt, Coverage) else f"{doubt:.3g} of answers right"
        not_shown.append(f"{what}, so no answer is unknown")
    return {"threshold": threshold, "unknown": unknown, "not_shown": not_shown}


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None
