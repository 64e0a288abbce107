"""What predicted masks are worth: scores of every head on val and test, from counts over all pixels of a split."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from meltpoint.evaluate.judgement import HeadJudgement, Headline, Judgement, Score, share_of
from meltpoint.metrics import from_pixels
from meltpoint.model.card import Card, HeadCard
from meltpoint.params.judging import Evaluate
from meltpoint.tables import JUDGED
from meltpoint.tasks.segmentation.pixel_counts import borders_of, confusion_of, pixels_of, score_borders

HEADLINE = Headline("miou", "mean IoU", "a labelled pixel", "pixel", ("miou", "pixel_accuracy"))


def judge(predictions: pd.DataFrame, card: Card, settings: Evaluate) -> Judgement:  # noqa: ARG001 - as of other tasks
    """Judge predictions of masks (see `tables.check_counts`) of the heads of a card."""
    return judge_heads(predictions, card.heads)


def judge_heads(predictions: pd.DataFrame, heads: Mapping[str, HeadCard]) -> Judgement:
    """Judge predictions of masks (see `tables.check_counts`), apart for val and test.

    Counts are summed over all images of a split before anything is divided: means of scores of images or batches weigh
    a rare class by the pictures it happens to stand in, and depend on how images are batched.
    """
    splits = {split: predictions[predictions["split"] == split] for split in JUDGED}
    judged = {
        split: {head: judge_head(table, head, card) for head, card in heads.items()} for split, table in splits.items()
    }
    return Judgement(judged, HEADLINE)


def judge_head(table: pd.DataFrame, head: str, card: HeadCard) -> HeadJudgement:
    """Judge one head from its counts on one split."""
    pixels, counts = pixels_of(table, head, card.classes), confusion_of(table, head, card.classes)
    boundaries = score_borders(borders_of(table, head, card.classes).sum(1))
    tp, fp, fn = pixels.sum(1)
    known = from_pixels(tp, fp, fn)
    scores: dict[str, Score] = {name: float(value) if counts.sum() else None for name, value in known.items()}
    drawn = boundaries[~np.isnan(boundaries)]
    columns = {  # NaN where it is 0/0: of a class that no one saw, nothing is known
        "iou": share_of(tp, tp + fp + fn),
        "dice": share_of(2 * tp, 2 * tp + fp + fn),
        "precision": share_of(tp, tp + fp),
        "recall": share_of(tp, tp + fn),
        "boundary_f1": boundaries,
        "support": tp + fn,
    }
    return HeadJudgement(
        card=card,
        images=int(((pixels[0] + pixels[2]).sum(1) > 0).sum()),
        scores={**scores, "boundary_f1": float(drawn.mean()) if len(drawn) else None},
        by_class=pd.DataFrame(columns, index=pd.Index(card.classes, name="class")),
        confusion=counts,
    )
