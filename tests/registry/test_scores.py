"""Scores and costs become metrics under names that group well."""

from pathlib import Path
from typing import Any

from meltpoint.files import write_json
from meltpoint.registry.scores import MOST_CLASSES, read_costs, read_scores


def scores_of(folder: Path, classes: dict[str, Any]) -> dict[str, float]:
    head = {"images": 9, "absent_classes": 0, "accuracy": 0.5, "roc_auc": None, "classes": classes}
    write_json(folder / "reports/strategies/frozen/metrics.json", {"val": {"shape": head}, "test": {"shape": head}})
    return read_scores(folder, "frozen")


def test_names_and_what_could_not_be_had(tmp_path: Path) -> None:
    classes = {"circle (red)": {"f1": 0.25, "support": 4}, "square": {"f1": None, "support": 0}}
    assert scores_of(tmp_path, classes) == {
        "val/shape/accuracy": 0.5, "test/shape/accuracy": 0.5, "test by class/shape circle _red_ f1": 0.25,
    }  # fmt: skip


def test_thousands_of_classes_are_no_metrics(tmp_path: Path) -> None:
    many = {f"c{number}": {"f1": 0.5} for number in range(MOST_CLASSES + 1)}
    assert len(scores_of(tmp_path, many)) == 2


def test_costs_are_those_of_the_comparison() -> None:
    rows = [{"name": "frozen", "cost": {"train_seconds": 3, "megabytes": None}}, {"name": "finetune", "cost": {}}]
    assert read_costs({"strategies": rows}, "frozen") == {"cost/train_seconds": 3.0}
