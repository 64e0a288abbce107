"""Classes of pixels: judged by counts over a whole split, drawn as matrices, bars, and overlays of some images."""

from collections.abc import Callable
from functools import partial
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
from meltpoint.tasks.segmentation.answer import masks_of
from meltpoint.tasks.segmentation.iou_plot import draw_bars
from meltpoint.tasks.segmentation.metrics import Judgement, MaskJudgement
from meltpoint.tasks.segmentation.overlays import draw_overlays, show_images

ROWS = 2000  # of the table for DVC's confusion template, which counts them: pixels are too many
# What curves of probabilities would stand in: the same files whatever the task, so that the stage declares them once.
EMPTY = {
    "roc.csv": ["false_positive_rate", "true_positive_rate"],
    "precision_recall.csv": ["recall", "precision"],
    "reliability.csv": ["confidence", "accuracy", "images", "low", "high"],
}


def write_report(
    predictions: pd.DataFrame,
    judgement: Judgement,
    views: Views,
    answerer: Answerer,
    settings: Evaluate,
    folder: Path,
) -> None:
    """Write `folder`: predictions.parquet, metrics.json, and of test: a table of the main head, pictures.

    hierarchy.json is {} and the curves' tables have no rows: masks have neither a tree nor stored probabilities.
    """
    judged, main = judgement.splits["test"], answerer.card.main_head
    answer = partial(masks_of, answerer.predictor, views)
    with whole_folder(folder) as temporary:
        write_predictions(predictions, temporary / "predictions.parquet")
        write_json(temporary / "metrics.json", judgement.metrics)
        write_json(temporary / "hierarchy.json", {})
        write_json(temporary / "summary.json", judgement.summary)
        for name, columns in EMPTY.items():
            _write_table(pd.DataFrame(columns=columns), temporary / name)
        _write_table(_pairs(judged[main]), temporary / "confusion.csv")
        pictures: dict[str, Callable[[Path], None]] = {
            "confusion": lambda path: draw_confusion(
                judged, None, f"{folder.name}: what is taken for what (test)", True, path
            ),
            "iou": lambda path: draw_bars(judged, f"{folder.name}: IoU of each class (test)", path),
            "overlays": lambda path: draw_overlays(
                show_images(predictions, answerer.card, answer, views, settings.worst),
                answerer.card.heads[main],
                f"{folder.name}: {main} on the best, middle and worst images (test)",
                path,
            ),
        }
        for name, draw in track(pictures.items(), "drawing", len(pictures), unit="picture"):
            draw(temporary / "pictures" / f"{name}.png")


def _pairs(judged: MaskJudgement) -> pd.DataFrame:
    """Rows (actual, predicted) in proportion to the pixels, about `ROWS` of them."""
    names, size = np.asarray(judged.classes, dtype=object), len(judged.classes)
    counts = np.rint(judged.confusion.ravel() * (ROWS / max(1, judged.confusion.sum()))).astype(np.int64)
    cells = np.repeat(np.arange(size**2), counts)
    return pd.DataFrame({"actual": names[cells // size], "predicted": names[cells % size]})


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
