"""Training curves: the lines of history.jsonl as points of a run, each point once however often it is offered."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meltpoint.tracking.pipeline_state import allowed_name
from meltpoint.tracking.store import Point, Store

NOT_METRICS = ("step", "epoch")
HistoryLine = dict[str, float]  # metric -> value at `step`


def now() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return int(time.time() * 1000)


@dataclass
class Tail:
    """Reads what was added to a file of JSON lines. A file that was cut shorter is read from its start."""

    path: Path
    offset: int = 0  # bytes that were taken

    def read(self) -> tuple[list[HistoryLine], int]:
        """The new whole lines, and the offset behind them; the caller takes them by storing it in `offset`."""
        if not self.path.exists():
            return [], 0
        start = self.offset if self.path.stat().st_size >= self.offset else 0
        with self.path.open("rb") as file:
            file.seek(start)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        return [json.loads(line) for line in whole.splitlines() if line.strip()], start + len(whole)


@dataclass
class LoggedSteps:
    """The steps a run has for each metric, asked once and then kept."""

    store: Store
    run: str
    steps: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, run: str) -> "LoggedSteps":
        """What the run has by now."""
        written = cls(store, run)
        for key in store.client.get_run(run).data.metrics:
            written.steps[key] = {point.step for point in store.client.get_metric_history(run, key)}
        return written

    def add(self, points: Iterable[Point]) -> int:
        """Log those points that the run lacks, and say how many they were."""
        new = [point for point in points if point.step not in self.steps.get(point.key, ())]
        self.store.log(self.run, new)
        for point in new:
            self.steps.setdefault(point.key, set()).add(point.step)
        return len(new)


def points_of(lines: Sequence[HistoryLine], start: int, end: int) -> Iterator[Point]:
    """The points of history lines, their timestamps (ms) spread evenly from `start` to `end`."""
    for index, line in enumerate(lines, start=1):
        timestamp = start + (end - start) * index // len(lines)
        for key, value in line.items():
            if key not in NOT_METRICS and isinstance(value, int | float):
                yield Point(allowed_name(key), float(value), timestamp, int(line["step"]))
