"""What classification predictions are worth: every score of every head on val and test, and the curves behind them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from meltpoint.arrays import Flags, Floats, Ints
from meltpoint.evaluate.curves import expected_calibration_error, rank_classes, reliability
from meltpoint.evaluate.hierarchy import judge_tree
from meltpoint.evaluate.judgement import HeadJudgement, Headline, Judgement, Score, share_of
from meltpoint.evaluate.predictions import answers_of, codes_of, probabilities_of
from meltpoint.metrics import confusion, from_confusion, least_probability, steps
from meltpoint.model.card import Card, HeadCard, TreeCard
from meltpoint.params.heads import Coverage
from meltpoint.params.judging import Evaluate
from meltpoint.tables import JUDGED
from meltpoint.trees import Tree, build_tree, weigh_classes, weigh_paths

LIKELY = 5  # answers among which the true one is looked for, where there are more classes
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "f1")
HEADLINE = Headline("accuracy", "accuracy", "a label", "image", ("accuracy", "f1"))


def judge(predictions: pd.DataFrame, card: Card, settings: Evaluate) -> Judgement:
    """Judge predictions (see `tables.check_predictions`) of the heads of a card."""
    return judge_heads(predictions, card.heads, card.tree, settings.calibration_bins)


def judge_heads(
    predictions: pd.DataFrame, heads: Mapping[str, HeadCard], tree: TreeCard | None, bins: int
) -> Judgement:
    """Judge predictions (see `tables.check_predictions`), apart for val and test.

    Images without a label for a head are left out of that head's scores. What is right or wrong is the answer, and what
    has to be honest is the confidence in it; raw probabilities are ranked. `bins` is the number of equal-width bins of
    confidence.
    """
    splits = {split: predictions[predictions["split"] == split] for split in JUDGED}
    classes = {name: card.classes for name, card in heads.items()}
    grown = build_tree(tree.levels, tree.parents, classes) if tree else None
    return Judgement(
        splits={split: _judge_split(table, heads, grown, bins) for split, table in splits.items()},
        headline=HEADLINE,
        trees={split: judge_tree(table, heads, grown) for split, table in splits.items()} if grown else {},
        tree=tree,
    )


def judge_head(
    true: Ints, predicted: Ints, probabilities: Floats, trusted: Floats, card: HeadCard, bins: int
) -> HeadJudgement:
    """Judge one head from true class ids (N,), all known, its answers (N,), and its raw probabilities (N, C).

    `trusted` (N, C) are what it is asked to be honest about, and what it tells its users: in a tree those of all paths
    through a class, else the raw ones.
    """
    counts, rows = confusion(true, predicted, len(card.classes)), np.arange(len(true))
    rankings = rank_classes(true, probabilities, card.classes)
    table = reliability(true, predicted, trusted[rows, predicted], bins)
    known = from_confusion(counts)
    # of two classes the last is the one that is looked for; of more, each against the rest
    asked = list(rankings.values())[-1 if len(card.classes) == 2 else 0 :]
    given = probabilities[rows, true] / probabilities.sum(1)
    losses = -np.log(np.clip(given, least_probability(len(card.classes)), 1))  # natural logarithm
    scores: dict[str, Score] = {
        **{name: float(known[name]) if len(true) else None for name in SCORES},
        **score_steps(counts, card),
        **score_likely(true, trusted),
        **score_threshold(counts, card),
        **score_unknown(true, predicted, trusted, card),
        "roc_auc": float(np.mean([ranking.roc.area for ranking in asked])) if asked else None,
        "average_precision": float(np.mean([ranking.precision_recall.area for ranking in asked])) if asked else None,
        "log_loss": float(losses.mean()) if len(true) else None,
        "expected_calibration_error": expected_calibration_error(table) if len(true) else None,
    }
    hits, occurs, answers = (part.astype(np.float64) for part in (np.diagonal(counts), counts.sum(1), counts.sum(0)))
    areas = {name: (rank.roc.area, rank.precision_recall.area) for name, rank in rankings.items()}
    columns = {  # NaN where they are 0/0, as scikit-learn's with `zero_division=nan`
        "precision": share_of(hits, answers),
        "recall": share_of(hits, occurs),
        "f1": share_of(2 * hits, occurs + answers),
        "support": counts.sum(1),
        "roc_auc": [areas.get(name, (np.nan, np.nan))[0] for name in card.classes],
        "average_precision": [areas.get(name, (np.nan, np.nan))[1] for name in card.classes],
    }
    return HeadJudgement(
        card=card,
        images=len(true),
        scores=scores,
        by_class=pd.DataFrame(columns, index=pd.Index(card.classes, name="class")),
        confusion=counts,
        reliability=table,
        rankings=rankings,
    )


def _judge_split(
    table: pd.DataFrame, heads: Mapping[str, HeadCard], tree: Tree | None, bins: int
) -> dict[str, HeadJudgement]:
    predicted = {head: answers_of(table, head, card.classes) for head, card in heads.items()}
    probabilities = {head: probabilities_of(table, head, card.classes) for head, card in heads.items()}
    trusted = dict(probabilities)
    if tree is not None:
        sizes = {level: len(heads[level].classes) for level in tree.levels}
        trusted |= weigh_classes(tree, weigh_paths(tree, probabilities), sizes)
    judged = {}
    for head, card in heads.items():
        true = codes_of(table, head, card.classes)
        kept = true >= 0
        parts = true[kept], predicted[head][kept], probabilities[head][kept], trusted[head][kept]
        judged[head] = judge_head(*parts, card, bins)
    return judged


def score_steps(counts: Ints, card: HeadCard) -> dict[str, Score]:
    """Of an ordinal head, from its confusion matrix (C, C): mean distance in steps, quadratic weighted kappa."""
    if card.head.target != "ordinal":
        return {}
    if not counts.sum():
        return dict.fromkeys(["mean_absolute_error", "quadratic_kappa"])
    distance = float((counts * steps(len(counts))).sum() / counts.sum())
    return {"mean_absolute_error": distance, "quadratic_kappa": float(from_confusion(counts)["quadratic_kappa"])}


def score_likely(true: Ints, probabilities: Floats) -> dict[str, Score]:
    """Of a head with more than five classes: how often the true one is among the five most probable.

    Ties count against it: classes that are as probable stand before the true one, so that a head which tells nothing
    apart is right in none, not in all.
    """
    if probabilities.shape[1] <= LIKELY:
        return {}
    given = probabilities[np.arange(len(true)), true][:, None]
    return {f"top_{LIKELY}_accuracy": _mean((probabilities >= given).sum(1) <= LIKELY)}


def score_threshold(counts: Ints, card: HeadCard) -> dict[str, Score]:
    """Of a head that was asked for a threshold: precision and recall of its second class, for what it answers.

    Also where val could not show the wish and there is no threshold, so that all strategies have the same scores.
    """
    if card.threshold is None and card.head.threshold is None:
        return {}
    hits, found, there = (float(number) for number in (counts[1, 1], counts[:, 1].sum(), counts[1].sum()))
    return {"precision": hits / found if found else None, "recall": hits / there if there else None}


def score_unknown(true: Ints, predicted: Ints, trusted: Floats, card: HeadCard) -> dict[str, Score]:
    """Of a head that was asked to say "unknown": the share of images it answers, and how often these are right.

    Where it was asked for a coverage also `set_coverage`, the share of images whose true class is in its set. `trusted`
    (N, C) are the probabilities that it shows.
    """
    if card.unknown_below is None and card.head.unknown is None:
        return {}
    sure = ~card.find_unknown(trusted, predicted)
    scores = {"coverage": _mean(sure), "answered_accuracy": _mean((predicted == true)[sure])}
    if isinstance(card.head.unknown, Coverage):
        given, least = trusted[np.arange(len(true)), true], card.unknown_below
        scores["set_coverage"] = None if least is None else _mean(given >= least)
    return scores


def _mean(values: Flags) -> float | None:
    return float(values.mean()) if len(values) else None
