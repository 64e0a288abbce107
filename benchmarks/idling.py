"""`dvc repro` and `meltpoint plan` with nothing to do, here and beside a source of 100,000 files."""

import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from reporting import Row
from stubbed import call, make_repository

ROUNDS, FILES = 3, 100_000
LOOK = "fingerprint"  # the stage that always runs
WHAT = {
    "dvc repro": ("dvc", "repro"),
    "of it the stage fingerprint": ("python", f"stages/{LOOK}.py"),
    "meltpoint plan": ("meltpoint", "plan"),
}


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and of processors."""

    clock: float
    processors: float


def measure(folder: Path) -> list[Row]:
    """Seconds of commands that find nothing to do."""
    if set(re.findall(r"Running stage '(.+?)'", call(Path.cwd(), "dvc", "repro", "--dry"))) - {LOOK}:
        return [Row("dvc repro with nothing to do", 0, None, "", "not measured: run `make repro` first")]
    here = [_row(what, [_time(Path.cwd(), words) for _ in range(ROUNDS)], "here") for what, words in WHAT.items()]
    return here + _beside_many(folder)


def _beside_many(folder: Path) -> list[Row]:
    """The same at `FILES` files, and what the first `dvc repro` takes there."""
    make_repository(folder / "many", FILES)
    where = f"{FILES:,} files"
    first = _time(folder / "many", ("dvc", "repro"))
    rows = [_row(what, [_time(folder / "many", words) for _ in range(ROUNDS)], where) for what, words in WHAT.items()]
    note = f"all stages but one are stubs; of processors {first.processors:.1f}"
    return [*rows, Row(f"the first dvc repro, {where}, seconds", first.clock, None, "", note)]


def _time(folder: Path, words: tuple[str, ...]) -> Spent:
    start, before = time.perf_counter(), _processors()
    call(folder, *words)
    return Spent(time.perf_counter() - start, _processors() - before)


def _processors() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(what: str, spent: list[Spent], where: str) -> Row:
    clock = sorted(one.clock for one in spent)
    note = (
        f"median of {ROUNDS}, the slowest {clock[-1]:.1f}; of processors {median(one.processors for one in spent):.1f}"
    )
    return Row(f"{what}, nothing to do, {where}, seconds", median(clock), None, "", note)
