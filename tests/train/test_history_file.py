from pathlib import Path

import pandas as pd

from meltpoint.train.history_file import History, read_history, write_curves


def test_a_history_is_a_json_object_a_line(tmp_path: Path) -> None:
    history = History(tmp_path / "deep" / "history.jsonl")
    history.cut(0)
    history.log({"epoch": 0.5, "train/loss": 1.25}, 3)
    history.log({"epoch": 1, "val/loss": float("nan")}, 6)
    lines = [{"step": 3, "epoch": 0.5, "train/loss": 1.25}, {"step": 6, "epoch": 1}]
    assert list(read_history(history.path)) == lines


def test_what_came_after_an_offset_is_forgotten(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.log({"epoch": 1}, 1)
    offset = history.offset
    history.log({"epoch": 2}, 2)
    history.cut(offset)
    history.log({"epoch": 3}, 3)
    assert [line["step"] for line in read_history(history.path)] == [1, 3]


def test_cutting_never_lengthens(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.log({"epoch": 1}, 1)
    size = history.offset
    history.cut(size + 100)
    assert history.offset == size


def test_curves_have_a_row_a_validation(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.log({"epoch": 0, "val/loss": 3.0, "val/a/f1": 0.25}, 0)
    history.log({"epoch": 0.5, "train/loss": 2.0, "train/lr": 1e-3}, 1)
    history.log({"epoch": 1, "train/loss": 1.0, "train/lr": 1e-3}, 2)
    history.log({"epoch": 1, "val/loss": 1.5, "val/a/f1": 0.75}, 2)
    write_curves(history.path, tmp_path / "curves" / "x.csv")
    curves = pd.read_csv(tmp_path / "curves" / "x.csv")
    assert list(curves.columns) == ["step", "epoch", "train_loss", "val_loss", "val_a_f1"]
    assert curves["train_loss"].isna().tolist() == [True, False]
    assert curves.iloc[1].tolist() == [2, 1, 1.5, 1.5, 0.75]
