"""How well probabilities rank and how honest they are: ROC, precision-recall and reliability, as numbers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from meltpoint.arrays import Floats, Ints


@dataclass(frozen=True)
class Curve:
    """Points (P,) of a curve in x order, and the area that scikit-learn gives it."""

    x: Floats
    y: Floats
    area: float


@dataclass(frozen=True)
class Ranking:
    """A class against the rest: ROC (x false positive rate, y true positive rate), precision (y) over recall (x)."""

    roc: Curve
    precision_recall: Curve


def rank_classes(true: Ints, probabilities: Floats, classes: list[str]) -> dict[str, Ranking]:
    """The curves of each class against the rest; a class that no image has, or every image, cannot be ranked."""
    rankings = {}
    for index, name in enumerate(classes):
        positive = true == index
        if 0 < positive.sum() < len(true):
            scores = probabilities[:, index]
            false_rate, true_rate, _ = roc_curve(positive, scores)
            precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
            area, average_precision = roc_auc_score(positive, scores), average_precision_score(positive, scores)
            rankings[name] = Ranking(
                roc=Curve(false_rate, true_rate, float(area)),
                precision_recall=Curve(recall[::-1], precision[::-1], float(average_precision)),
            )
    return rankings


def average(curves: list[Curve], points: int) -> Curve:
    """The mean of several curves at `points` equally spaced x; one curve comes back thinned to about as many points."""
    if len(curves) == 1:
        curve = curves[0]
        kept = np.union1d(np.arange(0, len(curve.x), max(1, len(curve.x) // points)), [len(curve.x) - 1])
        return Curve(curve.x[kept], curve.y[kept], curve.area)
    x = np.linspace(0, 1, points)
    heights = [np.interp(x, curve.x, curve.y) for curve in curves]
    return Curve(x, np.mean(heights, axis=0), float(np.mean([curve.area for curve in curves])))


def reliability(true: Ints, predicted: Ints, confidence: Floats, bins: int) -> pd.DataFrame:
    """Images by confidence in the answer, in equal-width bins of [0, 1]; empty bins are left out.

    Columns: low, high (the bin), images, confidence (mean), accuracy.
    """
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    table = pd.DataFrame({"images": 1, "confidence": confidence, "accuracy": (predicted == true).astype(np.float64)})
    found = table.groupby(index).agg({"images": "sum", "confidence": "mean", "accuracy": "mean"})
    found.insert(0, "low", found.index / bins)
    found.insert(1, "high", (found.index + 1) / bins)
    return found.reset_index(drop=True)


def expected_calibration_error(table: pd.DataFrame) -> float:
    """The mean distance of confidence and accuracy over images: Guo et al., On Calibration, ICML 2017, equation 3."""
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float((gaps * table["images"]).sum() / table["images"].sum())
