"""The tables that cross a stage border are checked where they enter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meltpoint.params.heads import LinearHead, Where
from meltpoint.tables import (
    TableError,
    check_counts,
    check_predictions,
    check_samples,
    labels_of,
    read_predictions,
    read_samples,
    read_splits,
    write_predictions,
    write_samples,
    write_splits,
)

CLASSES = {"pose": ["树式", "plank"]}


@pytest.fixture
def samples() -> pd.DataFrame:
    rows = [
        {"id": 0, "path": "a,b.png", "pose": "树式", "group": "7", "split": "test"},
        {"id": 1, "path": "001.png", "pose": None, "group": None, "split": "train"},
        {"id": 2, "path": "c.png", "pose": "plank", "group": "NA", "split": "val"},
    ]
    return pd.DataFrame(rows).assign(width=3, height=4, sha256="0" * 64)


def test_samples_survive_the_disk(samples: pd.DataFrame, tmp_path: Path) -> None:
    table = check_samples(samples, CLASSES)
    write_samples(table, tmp_path / "samples.csv")
    pd.testing.assert_frame_equal(read_samples(tmp_path / "samples.csv", CLASSES), table)


def test_splits_survive_the_disk(samples: pd.DataFrame, tmp_path: Path) -> None:
    table = check_samples(samples, CLASSES)
    write_splits(table, tmp_path)
    pd.testing.assert_frame_equal(read_splits(tmp_path, CLASSES), table)
    assert (tmp_path / "val.csv").read_text().count("\n") == 2


def test_a_missing_column_is_named(samples: pd.DataFrame) -> None:
    with pytest.raises(TableError, match=r"lacks \['sha256'\]"):
        check_samples(samples.drop(columns="sha256"), CLASSES)


def test_an_unknown_class_is_named(samples: pd.DataFrame) -> None:
    with pytest.raises(TableError, match="unknown classes .*plank"):
        check_samples(samples, {"pose": ["树式"]})


@pytest.mark.parametrize("column", ["id", "path"])
def test_twins_are_named(samples: pd.DataFrame, column: str) -> None:
    samples.loc[1, column] = samples.loc[0, column]
    with pytest.raises(TableError, match=f"same {column}"):
        check_samples(samples, CLASSES)


def head(where: Where | None) -> LinearHead:
    return LinearHead(
        kind="linear", label="pose", tap="final", target="nominal", where=where, weight=1.0, class_weights="none",
        threshold=None, unknown=None, main=True,
    )  # fmt: skip


def test_a_head_answers_for_all_labelled_rows(samples: pd.DataFrame) -> None:
    assert labels_of(check_samples(samples, CLASSES), head(None)).fillna("-").tolist() == ["树式", "-", "plank"]


def test_a_head_is_about_the_rows_it_says(samples: pd.DataFrame) -> None:
    classes = {**CLASSES, "kind": ["photo", "drawing", "scan"]}
    table = check_samples(samples.assign(kind=["photo", "drawing", None]), classes)
    for kinds, wanted in ((["photo"], ["树式", "-", "-"]), (["drawing", "scan"], ["-", "-", "-"])):
        found = labels_of(table, head(Where(label="kind", is_in=kinds)))
        assert found.fillna("-").tolist() == wanted
        assert found.dtype == "string"


@pytest.mark.parametrize("column", ["group", "pose.label", "pose.answer", "pose.p.树式"])
def test_predictions_lack_nothing(column: str) -> None:
    row = {"id": 1, "path": "a", "split": "val", "group": "g", "pose.label": "plank", "pose.answer": "plank"}
    table = pd.DataFrame([{**row, "pose.p.树式": 0.25, "pose.p.plank": 0.75}])
    assert len(check_predictions(table, CLASSES)) == 1
    with pytest.raises(TableError, match=column):
        check_predictions(table.drop(columns=column), CLASSES)


def test_predictions_survive_the_disk(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1], "path": ["a"], "split": ["val"], "group": ["g"], "pose.label": ["plank"]})
    table = table.assign(**{"pose.answer": "plank", "pose.p.树式": 0.25, "pose.p.plank": 0.75, "more": 1})
    write_predictions(table, tmp_path / "p.parquet")
    again = read_predictions(tmp_path / "p.parquet", CLASSES)
    assert "more" not in again
    assert again["group"].dtype == "string"


@pytest.mark.parametrize("check", [check_predictions, check_counts])
@pytest.mark.parametrize("alone", [None, np.nan, pd.NA, ""])
def test_predictions_without_a_group_are_refused(check: Callable[..., pd.DataFrame], alone: Any) -> None:
    table = pd.DataFrame({"id": [1, 2], "path": ["a", "b"], "split": ["val", "test"], "group": ["g", alone]})
    with pytest.raises(TableError, match="1 of 2 images of the table of predictions have no group, the first is 'b'"):
        check(table, {})
