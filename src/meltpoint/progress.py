"""What a person sees while a stage works: a bar, and one closing line that says what was made."""

import resource
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
from tqdm import tqdm

from meltpoint.files import write_json
from meltpoint.terminal import is_terminal, original, plain, say

Item = TypeVar("Item")


class Bar(tqdm):  # type: ignore[type-arg]  # which has no type parameter when it runs
    """A bar whose title and figures may quote the data."""

    @staticmethod
    def format_meter(*given: Any, **named: Any) -> str:
        """The text of the bar as a harmless line; how the terminal draws it again is tqdm's part."""
        return plain(tqdm.format_meter(*given, **named))


def timed_file(stage: str) -> Path:
    """The file that holds how long a stage took here the last time; it is ignored by git and DVC."""
    return Path(".checkpoints/seconds") / f"{stage}.json"


def track(items: Iterable[Item], what: str, total: int | None = None, unit: str = "image") -> "tqdm[Item]":
    """Iterate with a bar on stderr; in a log file, where nothing can be redrawn, a line every ten seconds."""
    file, interval = original(sys.stderr), 0.2 if is_terminal(sys.stderr) else 10.0
    shown: dict[str, Any] = {"file": file, "mininterval": interval, "smoothing": 0.1, "dynamic_ncols": True}
    return Bar(items, desc=what, total=total, unit=unit, **shown)


class Stopwatch:
    """Seconds since it was made, and the closing line of a stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def costs(self) -> dict[str, float]:
        """What the stage has cost so far: `seconds` and `peak_megabytes`."""
        return {"seconds": round(self.seconds, 3), "peak_megabytes": round(peak_megabytes(), 1)}

    def close(self, made: str, *outputs: Path) -> None:
        """Print what was made, how long it took, how much disk and memory it needed.

        How long the process has run, its start included, is kept for `meltpoint plan`, where that can be written.
        """
        size = megabytes(*outputs)
        written = f", {size:,.1f} MB in {', '.join(str(output) for output in outputs)}" if outputs else ""
        needed = f"{self.seconds:.1f} s{written}, {peak_megabytes():,.0f} MB of memory at most"
        say(f"{self.stage}: {made.rstrip('.')}, {needed}")
        seconds = time.time() - psutil.Process().create_time()
        with suppress(OSError):
            write_json(timed_file(self.stage), {"seconds": round(seconds, 1)})


def megabytes(*paths: Path) -> float:
    """The size of files and folders together, in units of 10**6 bytes."""
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def peak_megabytes() -> float:
    """The most memory this process has held so far, in units of 10**6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
