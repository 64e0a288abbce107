"""The files of an evaluation that every task writes: predictions, scores, and tables for `dvc plots`."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.evaluate.curves import Curve, average
from meltpoint.evaluate.judgement import Judgement
from meltpoint.files import whole_file, write_json
from meltpoint.progress import track
from meltpoint.tables import write_predictions

POINTS = 200  # of a curve in a table: as many as a chart can show


def write_judgement(
    predictions: pd.DataFrame, judgement: Judgement, main_head: str, folder: Path, most: int | None = None
) -> None:
    """Write predictions.parquet, metrics.json, hierarchy.json, summary.json, and tables of the main head on test.

    hierarchy.json is about the tree, and {} without one. summary.json is for `dvc metrics`, which lays out every number
    of a file in a line. The tables are for `dvc plots`: roc.csv, precision_recall.csv, confusion.csv and
    reliability.csv; those of probabilities have no rows where none are kept. `most` rows about has confusion.csv.
    """
    judged = judgement.splits["test"][main_head]
    write_predictions(predictions, folder / "predictions.parquet")
    write_json(folder / "metrics.json", judgement.metrics)
    write_json(folder / "hierarchy.json", judgement.hierarchy)
    write_json(folder / "summary.json", judgement.summary)
    rankings = list(judged.rankings.values())[-1 if len(judged.classes) == 2 else 0 :]
    roc, precision_recall = [ranking.roc for ranking in rankings], [ranking.precision_recall for ranking in rankings]
    _write_curve(roc, "false_positive_rate", "true_positive_rate", folder / "roc.csv")
    _write_curve(precision_recall, "recall", "precision", folder / "precision_recall.csv")
    _write_table(judged.reliability[["confidence", "accuracy", "images", "low", "high"]], folder / "reliability.csv")
    names, size, counts = np.asarray(judged.classes, dtype=object), len(judged.confusion), judged.confusion.ravel()
    if most is not None:
        counts = np.rint(counts * (most / max(1, counts.sum()))).astype(np.int64)
    cells = np.repeat(np.arange(size**2), counts)  # as DVC's confusion template counts them: a row for each count
    pairs = pd.DataFrame({"actual": names[cells // max(1, size)], "predicted": names[cells % max(1, size)]})
    _write_table(pairs, folder / "confusion.csv")


def draw_pictures(pictures: Mapping[str, Callable[[Path], None]], folder: Path) -> None:
    """Draw each picture, by name, into `folder`."""
    for name, draw in track(pictures.items(), "drawing", len(pictures), unit="picture"):
        draw(folder / f"{name}.png")


def _write_curve(curves: list[Curve], x: str, y: str, path: Path) -> None:
    """One curve, or the mean of several; of none, a header alone."""
    curve = average(curves, POINTS) if curves else Curve(np.empty(0), np.empty(0), np.nan)
    _write_table(pd.DataFrame({x: curve.x, y: curve.y}), path)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
