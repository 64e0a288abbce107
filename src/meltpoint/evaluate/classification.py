"""What classification predictions are worth: every score of every head on val and test, and the curves behind them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.evaluate.answers import SPLITS, codes_of, probabilities_of
from meltpoint.evaluate.curves import Ranking, expected_calibration_error, rank_classes, reliability
from meltpoint.metrics import confusion, from_confusion, ratio
from meltpoint.tables import Classes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Score = float | None


@dataclass(frozen=True)
class HeadJudgement:
    """One head on one split. A score that cannot be had (no image of a class, no labelled image) is None.

    `by_class` is indexed by class name with the columns precision, recall, f1, support, roc_auc, average_precision.
    `confusion` is (C, C), rows true. `reliability` has a row per bin that holds an image (see `curves.reliability`).
    """

    classes: list[str]
    images: int
    scores: dict[str, Score]
    by_class: pd.DataFrame
    confusion: Ints
    reliability: pd.DataFrame
    rankings: dict[str, Ranking]  # class name -> its ROC and precision-recall curve; absent classes have none

    @property
    def absent(self) -> list[str]:
        """Classes without a single labelled image."""
        return [str(name) for name in self.by_class.index[self.by_class["support"] == 0]]

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores, and under `classes` those of each class, as plain numbers."""
        by_class = {str(name): _plain(row) for name, row in self.by_class.to_dict("index").items()}
        return {"images": self.images, "absent_classes": len(self.absent), **_plain(self.scores), "classes": by_class}


@dataclass(frozen=True)
class Judgement:
    """split -> head -> what its predictions are worth."""

    splits: dict[str, dict[str, HeadJudgement]]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of metrics.json: {split: {head: {score: value, classes: {name: {score: value}}}}}."""
        return {split: {head: judged.metrics for head, judged in heads.items()} for split, heads in self.splits.items()}

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
        lacking = f"; test has no image of {', '.join(judged.absent)}" if judged.absent else ""
        found = f"{_percent(judged.scores['accuracy'])} accuracy on {main_head}, {judged.images:,} test images"
        return f"{found} ({_percent(val.scores['accuracy'])} on val){lacking}"


def judge(predictions: pd.DataFrame, classes: Classes, bins: int) -> Judgement:
    """Judge predictions (see `tables.check_predictions`), apart for val and test.

    Images without a label for a head are left out of that head's scores. The predicted class is the most probable one.
    `bins` is the number of equal-width bins of confidence for calibration.
    """
    splits = {split: predictions[predictions["split"] == split] for split in SPLITS}
    return Judgement(
        {
            split: {head: _judge_table(table, head, names, bins) for head, names in classes.items()}
            for split, table in splits.items()
        }
    )


def judge_head(true: Ints, probabilities: Floats, classes: list[str], bins: int) -> HeadJudgement:
    """Judge one head from class ids (N,), all known, and probabilities (N, C)."""
    counts = confusion(true, probabilities.argmax(1), len(classes))
    rankings = rank_classes(true, probabilities, classes)
    table = reliability(true, probabilities, bins)
    return HeadJudgement(
        classes=classes,
        images=len(true),
        scores=_scores(true, probabilities, counts, rankings, table),
        by_class=_by_class(counts, classes, rankings),
        confusion=counts,
        reliability=table,
        rankings=rankings,
    )


def _judge_table(table: pd.DataFrame, head: str, classes: list[str], bins: int) -> HeadJudgement:
    true = codes_of(table, head, classes)
    return judge_head(true[true >= 0], probabilities_of(table, head, classes)[true >= 0], classes, bins)


def _scores(
    true: Ints, probabilities: Floats, counts: Ints, rankings: dict[str, Ranking], table: pd.DataFrame
) -> dict[str, Score]:
    names = ["accuracy", "balanced_accuracy", "macro_f1", "f1"]
    ranked = ["roc_auc", "average_precision"]
    if not len(true):
        return dict.fromkeys([*names, *ranked, "log_loss", "expected_calibration_error"])
    # of two classes the last is the one that is looked for; of more, each against the rest
    asked = list(rankings.values())[-1:] if len(counts) == 2 else list(rankings.values())
    scores = from_confusion(counts)
    return {
        **{name: float(scores[name]) for name in names},
        "roc_auc": _mean([ranking.roc.area for ranking in asked]),
        "average_precision": _mean([ranking.precision_recall.area for ranking in asked]),
        "log_loss": _log_loss(true, probabilities),
        "expected_calibration_error": expected_calibration_error(table),
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
    """Mean of -log p(true class), natural logarithm; clipped as scikit-learn's `log_loss` does."""
    given = probabilities[np.arange(len(true)), true] / probabilities.sum(1)
    return float(-np.log(np.clip(given, np.finfo(np.float64).eps, 1)).mean())


def _mean(values: list[float]) -> Score:
    return float(np.mean(values)) if values else None


def _plain(scores: dict[Any, Any]) -> dict[str, int | Score]:
    """Numbers for JSON: six decimals, None for NaN."""
    return {
        str(name): None if value is None or np.isnan(value) else value if name == "support" else round(float(value), 6)
        for name, value in scores.items()
    }


def _percent(value: Score) -> str:
    return "nothing" if value is None else f"{value:.1%}"
