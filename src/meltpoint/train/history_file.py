"""The curves of a training, read by live tracking and plots: a JSON object a line, `{"step": 3, "train/loss": ...}`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.files import whole_file

HISTORY = "history.jsonl"
TRAIN_LOSS = "train/loss"


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a history, in order."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def write_curves(history: Path, path: Path) -> None:
    """Write a history as CSV for `dvc plots`: a row per validation.

    Columns: step, epoch, train_loss (mean since the row before), then every val metric as `val_<head>_<metric>`.
    """
    rows: list[dict[str, float]] = []
    losses: list[float] = []
    for line in read_history(history):
        if TRAIN_LOSS in line:
            losses.append(line[TRAIN_LOSS])
        scores = {name.replace("/", "_"): value for name, value in line.items() if name.startswith("val/")}
        if scores:
            train_loss = sum(losses) / len(losses) if losses else math.nan
            rows.append({"step": line["step"], "epoch": line["epoch"], "train_loss": train_loss, **scores})
            losses = []
    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
