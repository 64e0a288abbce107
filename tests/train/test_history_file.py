from pathlib import Path

import pandas as pd

from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.history_file import write_curves


def test_curves_have_a_row_a_validation(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.log({"epoch": 0, "val/loss": 3.0, "val/a/f1": 0.25}, 0)
    checkpoint.log({"epoch": 0.5, "train/loss": 2.0, "train/lr": 1e-3}, 1)
    checkpoint.log({"epoch": 1, "train/loss": 1.0, "train/lr": 1e-3}, 2)
    checkpoint.log({"epoch": 1, "val/loss": 1.5, "val/a/f1": 0.75}, 2)
    write_curves(tmp_path / "history.jsonl", tmp_path / "curves" / "x.csv")
    curves = pd.read_csv(tmp_path / "curves" / "x.csv")
    assert list(curves.columns) == ["step", "epoch", "train_loss", "val_loss", "val_a_f1"]
    assert curves["train_loss"].isna().tolist() == [True, False]
    assert curves.iloc[1].tolist() == [2, 1, 1.5, 1.5, 0.75]
