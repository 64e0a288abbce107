"""What predicted tags are worth: scores of every head on val and test, and of every tag."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Floats
from meltpoint.evaluate.curves import Ranking, expected_calibration_error, rank_classes, reliability
from meltpoint.evaluate.judgement import HeadJudgement, Headline, Judgement, Score, share_of
from meltpoint.evaluate.predictions import probabilities_of
from meltpoint.metrics import average_precision, from_tags
from meltpoint.model.card import Card, HeadCard
from meltpoint.params.judging import Evaluate
from meltpoint.tables import JUDGED, answer_column, label_column, read_tags
from meltpoint.tasks.tagging.tag_thresholds import EVEN, count_tags

HEADLINE = Headline("map", "mAP", "a tag that is known", "image", ("map", "micro_f1", "macro_f1"))
MOST_CURVES = 100  # tags; of more, the curves are not drawn


def judge(predictions: pd.DataFrame, card: Card, settings: Evaluate) -> Judgement:
    """Judge predictions (see `tables.check_predictions`) of the heads of a card, apart for val and test."""
    return judge_heads(predictions, card.heads, settings.calibration_bins)


def judge_heads(predictions: pd.DataFrame, heads: Mapping[str, HeadCard], bins: int) -> Judgement:
    """The same of heads; a tag of which an image says nothing is left out for that image."""
    splits = {split: predictions[predictions["split"] == split] for split in JUDGED}
    judged = {
        split: {head: judge_head(table, head, card, bins) for head, card in heads.items()}
        for split, table in splits.items()
    }
    return Judgement(judged, HEADLINE)


def judge_head(table: pd.DataFrame, head: str, card: HeadCard, bins: int) -> HeadJudgement:
    """Judge one head on one split."""
    truth = read_tags(table[label_column(head)], card.classes)
    said = read_tags(table[answer_column(head)], card.classes) == 1
    shares = probabilities_of(table, head, card.classes)
    areas, known = average_precision(truth, shares), truth >= 0
    tp, fp, fn = count_tags(truth, said)
    there = ~np.isnan(areas)
    honest = reliability(truth[known].astype(np.int64), np.ones(int(known.sum()), np.int64), shares[known], bins)
    sums = [np.array([float(part.sum())]) for part in (tp, fp, fn)]
    scores: dict[str, Score] = {
        "map": float(areas[there].mean()) if there.any() else None,
        **{name: float(value) if known.any() else None for name, value in from_tags(tp, fp, fn).items()},
        "precision": _number(share_of(sums[0], sums[0] + sums[1])),
        "recall": _number(share_of(sums[0], sums[0] + sums[2])),
        "expected_calibration_error": expected_calibration_error(honest) if known.any() else None,
    }
    columns = {  # NaN where it is 0/0
        "average_precision": areas,
        "precision": share_of(tp, tp + fp),
        "recall": share_of(tp, tp + fn),
        "f1": np.where(tp + fn > 0, share_of(2 * tp, 2 * tp + fp + fn), np.nan),
        "threshold": card.thresholds or [EVEN] * len(card.classes),
        "support": tp + fn,
    }
    return HeadJudgement(
        card=card,
        images=int(known.any(1).sum()),
        scores=scores,
        by_class=pd.DataFrame(columns, index=pd.Index(card.classes, name="class")),
        confusion=np.zeros((0, 0), np.int64),
        reliability=honest,
        rankings=_rank(truth, shares, card.classes) if len(card.classes) <= MOST_CURVES else {},
    )


def _rank(truth: NDArray[np.int8], shares: Floats, tags: list[str]) -> dict[str, Ranking]:
    """The curves of each tag that some images have, and others have not."""
    found: dict[str, Ranking] = {}
    for place, tag in enumerate(tags):
        known = truth[:, place] >= 0
        lacks = 1 - truth[known, place].astype(np.int64)  # class 0 of two is to have the tag
        found |= rank_classes(lacks, shares[known][:, [place]], [tag])
    return found


def _number(value: Floats) -> Score:
    return None if np.isnan(value[0]) else float(value[0])
