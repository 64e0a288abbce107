import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meltpoint.evaluate import report_files
from meltpoint.model.card import TreeCard
from meltpoint.params.heads import Threshold
from meltpoint.params.judging import Evaluate
from meltpoint.tables import Classes, label_column, probability_columns, read_predictions
from meltpoint.tasks.classification import mistakes, report
from meltpoint.tasks.classification.metrics import judge_heads
from meltpoint.tasks.classification.mistakes import draw_mistakes, worst_mistakes
from meltpoint.tasks.classification.report import write_report

CLASSES: Classes = {"defective": ["intact", "defective"], "severity": ["none", "some", "much"]}
SETTINGS = Evaluate(batch=8, calibration_bins=10, worst=4, latency_runs=1)
PICTURES = ["confusion", "mistakes", "precision_recall", "reliability", "roc"]


def views_of(predictions: pd.DataFrame) -> Any:
    """Each image is a shade of its own; images of train stand among the others."""
    ids = np.sort(np.append(predictions["id"].to_numpy(), [0, 1, 2]))
    plain = np.broadcast_to((ids % 256).astype(np.uint8)[:, None, None, None], (len(ids), 8, 8, 3))
    return SimpleNamespace(samples=pd.DataFrame({"id": ids}), plain=plain)


def answering(main: str) -> Any:
    return SimpleNamespace(card=SimpleNamespace(main_head=main))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, cards: Any, answer: Any) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("reports") / "frozen"
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": np.arange(120) + 10, "split": ["val"] * 40 + ["test"] * 80})
    table["group"] = pd.array([f"g{number // 2}" for number in table["id"]], dtype="string")
    table["path"] = [f"{number}.png" for number in table["id"]]
    for head, names in CLASSES.items():
        true = rng.integers(0, len(names), 120)
        table[label_column(head)] = pd.array(np.asarray(names)[true], dtype="string")
        drawn = rng.dirichlet(np.ones(len(names)), 120) / 2 + np.eye(len(names))[true] / 2
        table[probability_columns(head, names)] = drawn.astype(np.float32)
    table.loc[45, label_column("defective")] = pd.NA
    flipped = probability_columns("defective", CLASSES["defective"])
    table.loc[50:59, flipped] = table.loc[50:59, flipped[::-1]].to_numpy()
    for head, names in CLASSES.items():
        answer(table, head, names)
    write_report(
        table, judge_heads(table, cards(CLASSES), None, 10), views_of(table), answering("defective"), SETTINGS, folder
    )
    return folder, table


def test_everything_is_there(written: tuple[Path, pd.DataFrame], cards: Any) -> None:
    folder, table = written
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    tables = {"roc.csv", "precision_recall.csv", "confusion.csv", "reliability.csv"}
    assert names == {"predictions.parquet", "metrics.json", "hierarchy.json", "summary.json", *tables} | {
        f"pictures/{p}.png" for p in PICTURES
    }
    pd.testing.assert_frame_equal(
        read_predictions(folder / "predictions.parquet", CLASSES), table[table.columns], check_like=True
    )
    assert json.loads((folder / "metrics.json").read_text()) == judge_heads(table, cards(CLASSES), None, 10).metrics
    assert json.loads((folder / "hierarchy.json").read_text()) == {}


def test_tables_are_of_the_main_head_on_test(written: tuple[Path, pd.DataFrame], cards: Any) -> None:
    folder, table = written
    judged = judge_heads(table, cards(CLASSES), None, 10).splits["test"]["defective"]
    confusion = pd.read_csv(folder / "confusion.csv")
    counted = pd.crosstab(confusion["actual"], confusion["predicted"]).loc[judged.classes, judged.classes]
    assert (counted.to_numpy() == judged.confusion).all()
    assert len(confusion) == 79
    roc = pd.read_csv(folder / "roc.csv")
    area = np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"])
    assert area == pytest.approx(judged.scores["roc_auc"], abs=1e-5)
    assert pd.read_csv(folder / "reliability.csv")["images"].sum() == 79
    assert list(pd.read_csv(folder / "precision_recall.csv")) == ["recall", "precision"]


def test_pictures_are_drawn(written: tuple[Path, pd.DataFrame]) -> None:
    for name in PICTURES:
        with Image.open(written[0] / "pictures" / f"{name}.png") as picture:
            picture.load()
            assert min(picture.size) > 60
            assert len(set(picture.convert("L").get_flattened_data())) > 5


def test_worst_mistakes_come_first(written: tuple[Path, pd.DataFrame]) -> None:
    found = worst_mistakes(written[1], "defective", CLASSES["defective"])
    assert len(found) == 10
    assert set(found["id"]) == set(range(60, 70))
    assert found["given"].is_monotonic_increasing
    assert (found["true"] != found["predicted"]).all()
    assert found["confidence"].to_numpy() == pytest.approx(1 - found["given"].to_numpy())


def test_a_mistake_is_shown_with_its_own_image(
    monkeypatch: pytest.MonkeyPatch, written: tuple[Path, pd.DataFrame]
) -> None:
    found, shown = worst_mistakes(written[1], "defective", CLASSES["defective"]), []
    monkeypatch.setattr(mistakes, "draw_sheet", lambda *given: shown.append(given))
    draw_mistakes(found, views_of(written[1]), 4, "title", Path("mistakes.png"))
    images, captions, *_ = shown[0]
    assert [int(image[0, 0, 0]) for image in images] == found["id"].head(4).tolist()
    assert captions[0] == f"{found['true'][0]}\nread as {found['predicted'][0]}, {found['confidence'][0]:.0%}"


def test_many_classes_and_no_labels_are_drawn_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: Any, cards: Any
) -> None:
    classes = {"many": [f"kind {index}" for index in range(23)], "none": ["a", "b"]}
    table = predict(0.1, 1, images=60, classes=classes)
    table[label_column("none")] = pd.array([pd.NA] * 120, dtype="string")
    monkeypatch.setattr(report, "draw_mistakes", lambda *_: None)
    for main in classes:
        write_report(
            table,
            judge_heads(table, cards(classes), None, 5),
            views_of(table),
            answering(main),
            SETTINGS,
            tmp_path / main,
        )
        assert (tmp_path / main / "pictures" / "roc.png").stat().st_size > 1000
    assert pd.read_csv(tmp_path / "none" / "roc.csv").empty
    assert len(pd.read_csv(tmp_path / "many" / "roc.csv")) == report_files.POINTS


def test_a_tree_and_a_threshold_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: Any, card: Any
) -> None:
    monkeypatch.setattr(report, "draw_mistakes", lambda *_: None)
    wished = Threshold(metric="precision", at_least=0.9)
    heads = {"part": card(["low", "high"], threshold=0.4, wished=wished), "leaf": card(["a", "b", "c"])}
    tree = TreeCard(levels=["part", "leaf"], parents={"leaf": {"a": "low", "b": "low", "c": "high"}})
    classes = {name: own.classes for name, own in heads.items()}
    table = predict(0.2, 1, images=60, classes=classes)
    for name, labelled in (("some", True), ("none", False)):
        if not labelled:
            table[label_column("part")] = pd.array([pd.NA] * 120, dtype="string")
        judgement = judge_heads(table, heads, tree, 5)
        write_report(table, judgement, views_of(table), answering("leaf"), SETTINGS, tmp_path / name)
        found = json.loads((tmp_path / name / "hierarchy.json").read_text())
        assert found == judgement.hierarchy
        assert found["test"]["images"] == (60 if labelled else 0)
        with Image.open(tmp_path / name / "pictures" / "hierarchy.png") as picture:
            assert len(set(picture.convert("L").get_flattened_data())) > 5
