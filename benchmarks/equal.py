"""Whether equal networks get equal latencies: a model and its copies, timed as the stage `speed` times its models.

python benchmarks/run.py equal          # other work on the machine makes it harder, and is what it has to bear
python benchmarks/equal.py 10           # so many measurements one after the other
"""

import os
import sys
import tempfile
from pathlib import Path

from reporting import Row
from streaming import write_model

COPIES, TIMES = 3, 3
BATCH, RUNS = 32, 50  # of the default preset


def measure(folder: Path, times: int = TIMES) -> list[Row]:
    """A row for each measurement: the fastest and the slowest of the copies, and their distance."""
    from meltpoint.params.judging import Evaluate
    from meltpoint.predict.speed import measure_speeds
    from meltpoint.tasks.answerer import open_answerer

    write_model(folder / "model")
    copies = {f"copy {number}": open_answerer(folder / "model") for number in range(COPIES)}
    settings, rows = Evaluate(batch=BATCH, calibration_bins=15, worst=1, latency_runs=RUNS), []
    for _ in range(times):
        found = measure_speeds(copies, settings)
        own = sorted(one["latency_p50_ms"] for one in found["strategies"].values())
        tied = len({one["latency_tied_ms"] for one in found["strategies"].values()}) == 1
        note = (
            f"{own[-1] / own[0] - 1:.1%} apart, {'told as one' if tied else 'told apart'};"
            f" {found['attempts']} attempts, rounds spread by {found['unrest']:.0%},"
            f" {os.getloadavg()[0]:.0f} wait for {os.cpu_count()} cores"
        )
        rows.append(Row(f"latency of {COPIES} equal networks, milliseconds", own[0], own[-1], "the slowest", note))
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for row in measure(Path(place), int(sys.argv[1]) if sys.argv[1:] else TIMES):
            print(row, flush=True)
