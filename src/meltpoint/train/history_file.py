"""The curves of a training: one JSON object a line, read by live tracking, the model folder and plots."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.files import whole_file

HISTORY = "history.jsonl"
TRAIN_LOSS = "train/loss"


class History:
    """Appends lines `{"step": 3, "epoch": 0.1, "train/loss": ...}` to a file, each written at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def offset(self) -> int:
        """Bytes written so far; a checkpoint notes it, so that a continued training does not repeat lines."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, offset: int) -> None:
        """Remove what was written after `offset` bytes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.truncate(min(offset, file.tell()))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append a line; numbers that are not finite are left out, since JSON cannot hold them."""
        line = {"step": step, **{name: value for name, value in metrics.items() if math.isfinite(value)}}
        with self.path.open("ab") as file:  # in one write: a crash leaves no half line
            file.write((json.dumps(line) + "\n").encode())


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
    for line in read_history(path=history):
        if TRAIN_LOSS in line:
            losses.append(line[TRAIN_LOSS])
        scores = {name.replace("/", "_"): value for name, value in line.items() if name.startswith("val/")}
        if scores:
            train_loss = sum(losses) / len(losses) if losses else math.nan
            rows.append({"step": line["step"], "epoch": line["epoch"], "train_loss": train_loss, **scores})
            losses = []
    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
