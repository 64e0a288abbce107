"""What predicted masks are worth: scores of every head on val and test, from counts over all pixels of a split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meltpoint.arrays import Floats, Ints
from meltpoint.metrics import from_pixels, ratio
from meltpoint.model.card import Card, HeadCard
from meltpoint.params.judging import Evaluate
from meltpoint.tables import JUDGED
from meltpoint.tasks.classification.head_scores import say_learnt
from meltpoint.tasks.segmentation.pixel_counts import borders_of, confusion_of, pixels_of, score_borders

Score = float | None

SUMMARY = ("miou", "pixel_accuracy")
MOST_NAMED = 5  # classes that a sentence names


@dataclass(frozen=True)
class MaskJudgement:
    """One head on one split; ignored pixels count nowhere. A score that cannot be had is None.

    `by_class` is indexed by class name with the columns iou, dice, precision, recall, boundary_f1, and `support`, the
    class's pixels in the truth. `confusion` (C, C) counts pixels, rows true. `images` have a labelled pixel each.
    """

    card: HeadCard
    images: int
    scores: dict[str, Score]
    by_class: pd.DataFrame
    confusion: Ints

    @property
    def classes(self) -> list[str]:
        """The class names in the order of their ids."""
        return self.card.classes

    @property
    def absent(self) -> list[str]:
        """Classes without a single pixel in the truth."""
        return [str(name) for name in self.by_class.index[self.by_class["support"] == 0]]

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores, and under `classes` those of each class, as plain numbers."""
        return {
            "images": self.images,
            "absent_classes": len(self.absent),
            **_plain(self.scores),
            **say_learnt(self.card),
            "classes": {str(name): _plain(row) for name, row in self.by_class.to_dict("index").items()},
        }


@dataclass(frozen=True)
class Judgement:
    """split -> head -> what its masks are worth."""

    splits: dict[str, dict[str, MaskJudgement]]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of metrics.json: {split: {head: {score: value, classes: {name: {score: value}}}}}."""
        return {split: {head: judged.metrics for head, judged in heads.items()} for split, heads in self.splits.items()}

    @property
    def summary(self) -> dict[str, dict[str, dict[str, Score]]]:
        """The content of summary.json: of each head two scores, few enough for a table of `dvc metrics show`."""
        return {
            split: {head: {name: scores[name] for name in SUMMARY} for head, scores in heads.items()}
            for split, heads in self.metrics.items()
        }

    def sentence(self, main_head: str) -> str:
        """The closing words of the stage: mean IoU of the main head, and the classes that test lacks."""
        judged, val = self.splits["test"][main_head], self.splits["val"][main_head]
        if not judged.images:
            return f"no test image has a labelled pixel for {main_head}, so nothing can be said of it"
        more = f" and {len(judged.absent) - MOST_NAMED} more classes" if len(judged.absent) > MOST_NAMED else ""
        lacking = f"; test has no pixel of {', '.join(judged.absent[:MOST_NAMED])}{more}" if judged.absent else ""
        found = f"{_percent(judged.scores['miou'])} mean IoU on {main_head}, {judged.images:,} test images"
        return f"{found} ({_percent(val.scores['miou'])} on val){lacking}"


def judge(predictions: pd.DataFrame, card: Card, settings: Evaluate) -> Judgement:  # noqa: ARG001 - as of other tasks
    """Judge predictions of masks (see `tables.check_counts`) of the heads of a card."""
    return judge_heads(predictions, card.heads)


def judge_heads(predictions: pd.DataFrame, heads: Mapping[str, HeadCard]) -> Judgement:
    """Judge predictions of masks (see `tables.check_counts`), apart for val and test.

    Counts are summed over all images of a split before anything is divided: means of scores of images or batches weigh
    a rare class by the pictures it happens to stand in, and depend on how images are batched.
    """
    splits = {split: predictions[predictions["split"] == split] for split in JUDGED}
    return Judgement(
        {
            split: {head: judge_head(table, head, card) for head, card in heads.items()}
            for split, table in splits.items()
        }
    )


def judge_head(table: pd.DataFrame, head: str, card: HeadCard) -> MaskJudgement:
    """Judge one head from its counts on one split."""
    pixels, counts = pixels_of(table, head, card.classes), confusion_of(table, head, card.classes)
    boundaries = score_borders(borders_of(table, head, card.classes).sum(1))
    tp, fp, fn = pixels.sum(1)
    known = from_pixels(tp, fp, fn)
    scores: dict[str, Score] = {name: float(value) if counts.sum() else None for name, value in known.items()}
    drawn = boundaries[~np.isnan(boundaries)]
    return MaskJudgement(
        card=card,
        images=int(((pixels[0] + pixels[2]).sum(1) > 0).sum()),
        scores={**scores, "boundary_f1": float(drawn.mean()) if len(drawn) else None},
        by_class=_by_class(tp, fp, fn, boundaries, card.classes),
        confusion=counts,
    )


def _by_class(tp: Ints, fp: Ints, fn: Ints, boundaries: Floats, classes: list[str]) -> pd.DataFrame:
    """Scores are NaN where they are 0/0: of a class that no one saw, nothing is known."""
    columns = {
        "iou": _known(tp, tp + fp + fn),
        "dice": _known(2 * tp, 2 * tp + fp + fn),
        "precision": _known(tp, tp + fp),
        "recall": _known(tp, tp + fn),
        "boundary_f1": boundaries,
        "support": tp + fn,
    }
    return pd.DataFrame(columns, index=pd.Index(classes, name="class"))


def _known(part: Ints, whole: Ints) -> Floats:
    return np.where(whole > 0, ratio(part.astype(np.float64), whole.astype(np.float64)), np.nan)


def _plain(scores: dict[Any, Any]) -> dict[str, int | Score]:
    """Numbers for JSON: six decimals, None for NaN."""
    return {
        str(name): None if value is None or np.isnan(value) else value if name == "support" else round(float(value), 6)
        for name, value in scores.items()
    }


def _percent(value: Score) -> str:
    return "nothing" if value is None else f"{value:.1%}"
