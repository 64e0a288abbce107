"""Everything one evaluation leaves behind: predictions, scores, curves for `dvc plots`, and pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.evaluate.confusion import draw_confusion
from meltpoint.files import whole_file, whole_folder, write_json
from meltpoint.images.views import Views
from meltpoint.params.judging import Evaluate
from meltpoint.progress import track
from meltpoint.tables import write_predictions
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.classification.curves import Curve, average
from meltpoint.tasks.classification.metrics import HeadJudgement, Judgement
from meltpoint.tasks.classification.mistakes import draw_mistakes, worst_mistakes
from meltpoint.tasks.classification.plots import draw_hierarchy, draw_precision_recall, draw_reliability, draw_roc

POINTS = 200  # of a curve in a table: as many as a chart can show


def write_report(
    predictions: pd.DataFrame,
    judgement: Judgement,
    views: Views,
    answerer: Answerer,
    settings: Evaluate,
    folder: Path,
) -> None:
    """Write `folder`: predictions.parquet, metrics.json, and of test: tables of the main head, pictures of every head.

    hierarchy.json is about the tree, and {} without one; only with one there is a picture of it.
    summary.json is for `dvc metrics`, which lays out every number of a file in a line. The tables are for `dvc plots`:
    roc.csv, precision_recall.csv, confusion.csv and reliability.csv.
    """
    judged, main_head = judgement.splits["test"], answerer.card.main_head
    with whole_folder(folder) as temporary:
        write_predictions(predictions, temporary / "predictions.parquet")
        write_json(temporary / "metrics.json", judgement.metrics)
        write_json(temporary / "hierarchy.json", judgement.hierarchy)
        write_json(temporary / "summary.json", judgement.summary)
        _write_tables(judged[main_head], temporary)
        _draw_pictures(judgement, folder.name, temporary / "pictures")
        mistakes = worst_mistakes(predictions, main_head, judged[main_head].classes)
        shown = min(len(mistakes), settings.worst)
        title = f"{folder.name}: the worst {shown} of {len(mistakes)} mistakes on {main_head} (test)"
        draw_mistakes(mistakes, views, settings.worst, title, temporary / "pictures" / "mistakes.png")


def _write_tables(judged: HeadJudgement, folder: Path) -> None:
    rankings = list(judged.rankings.values())[-1 if len(judged.classes) == 2 else 0 :]
    roc, precision_recall = [ranking.roc for ranking in rankings], [ranking.precision_recall for ranking in rankings]
    _write_curve(roc, "false_positive_rate", "true_positive_rate", folder / "roc.csv")
    _write_curve(precision_recall, "recall", "precision", folder / "precision_recall.csv")
    _write_table(judged.reliability[["confidence", "accuracy", "images", "low", "high"]], folder / "reliability.csv")
    _write_table(_pairs(judged), folder / "confusion.csv")


def _pairs(judged: HeadJudgement) -> pd.DataFrame:
    """A row (actual, predicted) per image, as DVC's confusion template counts them."""
    names, size = np.asarray(judged.classes), len(judged.classes)
    cells = np.repeat(np.arange(size**2), judged.confusion.ravel())
    return pd.DataFrame({"actual": names[cells // size], "predicted": names[cells % size]})


def _write_curve(curves: list[Curve], x: str, y: str, path: Path) -> None:
    """One curve, or the mean of several; of none, a header alone."""
    curve = average(curves, POINTS) if curves else Curve(np.empty(0), np.empty(0), np.nan)
    _write_table(pd.DataFrame({x: curve.x, y: curve.y}), path)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def _draw_pictures(judgement: Judgement, name: str, folder: Path) -> None:
    judged, tree = judgement.splits["test"], judgement.tree
    pictures: dict[str, Callable[[Path], None]] = {
        "confusion": lambda path: draw_confusion(judged, tree, f"{name}: what is taken for what (test)", False, path),
        "reliability": lambda path: draw_reliability(judged, f"{name}: is its confidence earned? (test)", path),
        "roc": lambda path: draw_roc(judged, f"{name}: ROC (test)", path),
        "precision_recall": lambda path: draw_precision_recall(judged, f"{name}: precision and recall (test)", path),
    }
    if judgement.trees:
        title = f"{name}: what the tree does (test)"
        pictures["hierarchy"] = lambda path: draw_hierarchy(judgement.trees["test"], title, path)
    for picture, draw in track(pictures.items(), "drawing", len(pictures), unit="picture"):
        draw(folder / f"{picture}.png")
