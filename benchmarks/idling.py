"""`dvc repro` with nothing to do."""

import subprocess
import time
from pathlib import Path

from reporting import Row

ROUNDS = 5


def measure(folder: Path) -> list[Row]:
    """Seconds of a `dvc repro` that finds nothing to do; there is no rival."""
    del folder
    if "didn't change" not in _repro()[1]:
        return [Row("dvc repro with nothing to do", 0, None, "", "not measured: run `make repro` first")]
    seconds = sorted(_repro()[0] for _ in range(ROUNDS))
    note = f"median of {ROUNDS}, the slowest {seconds[-1]:.1f}; more than 2,624 files are looked at"
    return [Row("dvc repro with nothing to do, seconds", seconds[ROUNDS // 2], None, "", note)]


def _repro() -> tuple[float, str]:
    start = time.perf_counter()
    asked = subprocess.run(["dvc", "repro", "--dry"], capture_output=True, text=True, check=True)  # noqa: S607
    if "Running stage" in asked.stdout:
        return 0.0, ""
    start = time.perf_counter()
    done = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=True)  # noqa: S607
    return time.perf_counter() - start, done.stdout
