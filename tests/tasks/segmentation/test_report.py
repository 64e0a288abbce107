"""The report of a strategy that predicts masks has the files of every task."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from meltpoint.params.judging import Evaluate
from meltpoint.tables import read_counts
from meltpoint.tasks.segmentation import report
from meltpoint.tasks.segmentation.metrics import judge
from meltpoint.tasks.segmentation.report import ROWS, write_report

SETTINGS = Evaluate(batch=8, calibration_bins=10, worst=4, latency_runs=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, scenes: Any) -> tuple[Path, Any]:
    folder, made = tmp_path_factory.mktemp("reports") / "frozen", scenes(images=5)
    judgement = judge(made.table, made.card, SETTINGS)
    answerer: Any = SimpleNamespace(card=made.card, predictor=made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "masks_of", lambda predictor, views, rows: predictor.masks_of(views, rows))
        write_report(made.table, judgement, made.views, answerer, SETTINGS, folder)
    return folder, made


def test_everything_is_there(written: tuple[Path, Any]) -> None:
    folder, made = written
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    tables = {"roc.csv", "precision_recall.csv", "confusion.csv", "reliability.csv"}
    facts = {"predictions.parquet", "metrics.json", "hierarchy.json", "summary.json"}
    assert names == facts | tables | {f"pictures/{name}.png" for name in ("confusion", "iou", "overlays")}
    assert json.loads((folder / "hierarchy.json").read_text()) == {}
    judgement = judge(made.table, made.card, SETTINGS)
    assert json.loads((folder / "metrics.json").read_text()) == judgement.metrics
    again = judge(read_counts(folder / "predictions.parquet", made.card.classes), made.card, SETTINGS)
    assert again.metrics == judgement.metrics


def test_curves_have_their_columns_and_no_rows(written: tuple[Path, Any]) -> None:
    curves = {"roc.csv": ["false_positive_rate", "true_positive_rate"], "precision_recall.csv": ["recall", "precision"]}
    bins = {"reliability.csv": ["confidence", "accuracy", "images", "low", "high"]}
    for name, columns in (curves | bins).items():
        table = pd.read_csv(written[0] / name)
        assert table.empty
        assert list(table) == columns


def test_dvc_counts_pixels_in_proportion(written: tuple[Path, Any]) -> None:
    folder, made = written
    table, names = pd.read_csv(folder / "confusion.csv"), made.card.classes["scene"]
    assert len(table) == pytest.approx(ROWS, abs=len(names) ** 2)
    counted = pd.crosstab(table["actual"], table["predicted"]).reindex(index=names, columns=names, fill_value=0)
    judged = judge(made.table, made.card, SETTINGS).splits["test"]["scene"].confusion
    assert counted.to_numpy() / ROWS == pytest.approx(judged / judged.sum(), abs=1 / ROWS)
