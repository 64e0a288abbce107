"""What classification predictions are worth: every score of every head on val and test, and the curves behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meltpoint.arrays import Floats, Ints
from meltpoint.metrics import confusion, from_confusion, least_probability, ratio
from meltpoint.model.card import Card, HeadCard, TreeCard
from meltpoint.params.judging import Evaluate
from meltpoint.tables import JUDGED
from meltpoint.tasks.classification.curves import Ranking, expected_calibration_error, rank_classes, reliability
from meltpoint.tasks.classification.head_scores import (
    say_learnt,
    score_likely,
    score_steps,
    score_threshold,
    score_unknown,
)
from meltpoint.tasks.classification.hierarchy import TreeJudgement, judge_tree
from meltpoint.tasks.classification.predictions import answers_of, codes_of, probabilities_of
from meltpoint.trees import Tree, build_tree, weigh_classes, weigh_paths

Score = float | None

MOST_NAMED = 5  # classes that a sentence names


@dataclass(frozen=True)
class HeadJudgement:
    """One head on one split. A score that cannot be had (no image of a class, no labelled image) is None.

    `by_class` is indexed by class name with the columns precision, recall, f1, support, roc_auc, average_precision.
    `confusion` is (C, C), rows true. `reliability` has a row per bin that holds an image (see `curves.reliability`).
    """

    card: HeadCard
    images: int
    scores: dict[str, Score]
    by_class: pd.DataFrame
    confusion: Ints
    reliability: pd.DataFrame
    rankings: dict[str, Ranking]  # class name -> its ROC and precision-recall curve; absent classes have none

    @property
    def classes(self) -> list[str]:
        """The class names in the order of their ids."""
        return self.card.classes

    @property
    def absent(self) -> list[str]:
        """Classes without a single labelled image."""
        return [str(name) for name in self.by_class.index[self.by_class["support"] == 0]]

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores, what val taught the head, and under `classes` the scores of each class, as plain numbers."""
        by_class = {str(name): _plain(row) for name, row in self.by_class.to_dict("index").items()}
        return {
            "images": self.images,
            "absent_classes": len(self.absent),
            **_plain(self.scores),
            **say_learnt(self.card),
            "classes": by_class,
        }


@dataclass(frozen=True)
class Judgement:
    """split -> head -> what its predictions are worth; and split -> what the tree does, where heads form one."""

    splits: dict[str, dict[str, HeadJudgement]]
    trees: dict[str, TreeJudgement]
    tree: TreeCard | None

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of metrics.json: {split: {head: {score: value, classes: {name: {score: value}}}}}."""
        return {split: {head: judged.metrics for head, judged in heads.items()} for split, heads in self.splits.items()}

    @property
    def hierarchy(self) -> dict[str, Any]:
        """The content of hierarchy.json: {split: see `hierarchy.TreeJudgement.metrics`}, and {} without a tree."""
        return {split: judged.metrics for split, judged in self.trees.items()}

    @property
    def summary(self) -> dict[str, dict[str, dict[str, Score]]]:
        """The content of summary.json: of each head two scores, few enough for a table of `dvc metrics show`."""
        names = ("accuracy", "f1")
        return {
            split: {head: {name: scores[name] for name in names} for head, scores in heads.items()}
            for split, heads in self.metrics.items()
        }

    def sentence(self, main_head: str) -> str:
        """The closing words of the stage: accuracy of the main head, and the classes that test lacks."""
        judged, val = self.splits["test"][main_head], self.splits["val"][main_head]
        if not judged.images:
            return f"no test image has a label for {main_head}, so nothing can be said of it"
        lacking = f"; test has no image of {_some(judged.absent)}" if judged.absent else ""
        found = f"{_percent(judged.scores['accuracy'])} accuracy on {main_head}, {judged.images:,} test images"
        return f"{found} ({_percent(val.scores['accuracy'])} on val){lacking}"


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
        trees={split: judge_tree(table, heads, grown) for split, table in splits.items()} if grown else {},
        tree=tree,
    )


def judge_head(
    true: Ints, said: Ints, probabilities: Floats, trusted: Floats, card: HeadCard, bins: int
) -> HeadJudgement:
    """Judge one head from true class ids (N,), all known, its answers (N,), and its raw probabilities (N, C).

    `trusted` (N, C) are what it is asked to be honest about, and what it tells its users: in a tree those of all paths
    through a class, else the raw ones.
    """
    counts = confusion(true, said, len(card.classes))
    rankings = rank_classes(true, probabilities, card.classes)
    confidence = trusted[np.arange(len(said)), said]
    table = reliability(true, said, confidence, bins)
    return HeadJudgement(
        card=card,
        images=len(true),
        scores={
            **_scores(counts),
            **score_steps(counts, card),
            **score_likely(true, trusted),
            **score_threshold(counts, card),
            **score_unknown(true, said, trusted, card),
            **_score_probabilities(true, probabilities, rankings, table),
        },
        by_class=_by_class(counts, card.classes, rankings),
        confusion=counts,
        reliability=table,
        rankings=rankings,
    )


def _judge_split(
    table: pd.DataFrame, heads: Mapping[str, HeadCard], tree: Tree | None, bins: int
) -> dict[str, HeadJudgement]:
    said = {head: answers_of(table, head, card.classes) for head, card in heads.items()}
    probabilities = {head: probabilities_of(table, head, card.classes) for head, card in heads.items()}
    trusted = dict(probabilities)
    if tree is not None:
        sizes = {level: len(heads[level].classes) for level in tree.levels}
        trusted |= weigh_classes(tree, weigh_paths(tree, probabilities), sizes)
    judged = {}
    for head, card in heads.items():
        true = codes_of(table, head, card.classes)
        kept = true >= 0
        parts = true[kept], said[head][kept], probabilities[head][kept], trusted[head][kept]
        judged[head] = judge_head(*parts, card, bins)
    return judged


def _scores(counts: Ints) -> dict[str, Score]:
    scores = from_confusion(counts)
    names = ("accuracy", "balanced_accuracy", "macro_f1", "f1")
    return {name: float(scores[name]) if counts.sum() else None for name in names}


def _score_probabilities(
    true: Ints, probabilities: Floats, rankings: dict[str, Ranking], table: pd.DataFrame
) -> dict[str, Score]:
    # of two classes the last is the one that is looked for; of more, each against the rest
    asked = list(rankings.values())[-1:] if probabilities.shape[1] == 2 else list(rankings.values())
    return {
        "roc_auc": _mean([ranking.roc.area for ranking in asked]),
        "average_precision": _mean([ranking.precision_recall.area for ranking in asked]),
        "log_loss": _log_loss(true, probabilities) if len(true) else None,
        "expected_calibration_error": expected_calibration_error(table) if len(true) else None,
    }


def _by_class(counts: Ints, classes: list[str], rankings: dict[str, Ranking]) -> pd.DataFrame:
    """Precision, recall and F1 are NaN where they are 0/0, as scikit-learn's with `zero_division=nan`."""
    hits, true, predicted = (part.astype(np.float64) for part in (np.diagonal(counts), counts.sum(1), counts.sum(0)))
    areas = {name: (rank.roc.area, rank.precision_recall.area) for name, rank in rankings.items()}
    columns = {
        "precision": _known(hits, predicted),
        "recall": _known(hits, true),
        "f1": _known(2 * hits, true + predicted),
        "support": counts.sum(1),
        "roc_auc": [areas.get(name, (np.nan, np.nan))[0] for name in classes],
        "average_precision": [areas.get(name, (np.nan, np.nan))[1] for name in classes],
    }
    return pd.DataFrame(columns, index=pd.Index(classes, name="class"))


def _known(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, ratio(part, whole), np.nan)


def _log_loss(true: Ints, probabilities: Floats) -> float:
    """Mean of -log p(true class), natural logarithm; no p counts as less than `least_probability`."""
    given = probabilities[np.arange(len(true)), true] / probabilities.sum(1)
    return float(-np.log(np.clip(given, least_probability(probabilities.shape[1]), 1)).mean())


def _mean(values: list[float]) -> Score:
    return float(np.mean(values)) if values else None


def _plain(scores: dict[Any, Any]) -> dict[str, int | Score]:
    """Numbers for JSON: six decimals, None for NaN."""
    return {
        str(name): None if value is None or np.isnan(value) else value if name == "support" else round(float(value), 6)
        for name, value in scores.items()
    }


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more classes" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _percent(value: Score) -> str:
    return "nothing" if value is None else f"{value:.1%}"
