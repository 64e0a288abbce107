"""Scores and costs become metrics under names that group well."""

from pathlib import Path
from typing import Any

import pytest

from meltpoint.comparison import ComparedStrategy, Comparison
from meltpoint.evaluate.hierarchy import Decoding, TreeJudgement
from meltpoint.files import write_json
from meltpoint.tracking.pipeline_state import allowed_name
from meltpoint.tracking.run_metrics import MOST_CLASSES, cost_metrics, read_repeats, read_scores


def scores_of(folder: Path, classes: dict[str, Any], trees: dict[str, Any] | None = None) -> dict[str, float]:
    head = {
        "images": 9, "absent_classes": 0, "accuracy": 0.5, "roc_auc": None, "classes": classes,
        "threshold": {"at": 0.3, "metric": "recall", "at_least": 0.9}, "unknown": None,
    }  # fmt: skip
    write_json(folder / "reports/strategies/frozen/hierarchy.json", trees or {})
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
    costs = {"frozen": {"train_seconds": 3, "megabytes": None}, "finetune": {}}
    rows = [ComparedStrategy(name=name, metrics={}, intervals={}, cost=cost) for name, cost in costs.items()]
    decision = Comparison(
        winner="frozen", verdict="ship", sentence="", main_head="shape", metric="accuracy", strategies=rows
    )
    assert cost_metrics(decision, "frozen") == {"cost/train_seconds": 3.0}


def test_a_tree_has_scores_of_both_ways(tmp_path: Path) -> None:
    one = Decoding({"shape": {"accuracy": 0.75, "macro_f1": 0.5}}, {2: 3, 4: 1}, 0.5, 0.5)
    perfect = Decoding({"shape": {"accuracy": 1.0, "macro_f1": 1.0}}, {}, 1.0, 1.0)
    trees = {
        "val": TreeJudgement(0, 4, None, None, None).metrics,
        "test": TreeJudgement(4, 0, 0.25, one, perfect).metrics,
    }
    found = {name: value for name, value in scores_of(tmp_path, {}, trees).items() if "/tree/" in name}
    assert found == {
        "test/tree/consistency": 0.25, "test/tree/tree_distance alone": 2.5,
        "test/tree/hierarchical_precision alone": 0.5, "test/tree/hierarchical_recall alone": 0.5,
        "test/tree/hierarchical_f1 alone": 0.5, "test/tree/shape accuracy alone": 0.75,
        "test/tree/hierarchical_precision together": 1.0, "test/tree/hierarchical_recall together": 1.0,
        "test/tree/hierarchical_f1 together": 1.0, "test/tree/shape accuracy together": 1.0,
    }  # fmt: skip


def test_repeats_are_told_by_the_metric_that_chose_them(tmp_path: Path) -> None:
    assert read_repeats(tmp_path, "frozen", "f1") == {}
    heads = {"shape (a)": {"f1": [0.5, 0.25, 0.75], "accuracy": [1.0, 1.0, 1.0]}, "colour": {"accuracy": [1.0] * 3}}
    told = {"repeats": 3, "seeds": [7, 8, 9], "scores": {"val": {}, "test": heads}}
    write_json(tmp_path / "reports/strategies/frozen/repeats.json", told)
    assert read_repeats(tmp_path, "frozen", "f1") == {
        "repeat 2/test/shape _a_/f1": 0.25, "repeat 3/test/shape _a_/f1": 0.75,
    }  # fmt: skip
    told["scores"] = {"test": {"colour": {"f1": [0.5]}}}
    write_json(tmp_path / "reports/strategies/frozen/repeats.json", told | {"repeats": 1})
    assert read_repeats(tmp_path, "frozen", "f1") == {}


@pytest.mark.parametrize(("classes", "names"), [("$%o", ["_24", "_25", "o"]), ("$o", ["_", "o"]), ("$_", ["_24", "_"])])
def test_classes_whose_names_become_one_keep_their_scores_apart(tmp_path: Path, classes: str, names: list[str]) -> None:
    given = {name: {"f1": number / 10} for number, name in enumerate(classes)}
    found = {name: score for name, score in scores_of(tmp_path, given).items() if name.startswith("test by class")}
    assert found == {f"test by class/shape {name} f1": number / 10 for number, name in enumerate(names)}


@pytest.mark.parametrize("name", ["val/scene/iou/..", "a//b", "val/scene/iou/", "/a", "a/./b", "a/../../b"])
def test_a_class_is_no_path_that_climbs(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(allowed_name(name))
