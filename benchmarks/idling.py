"""`dvc repro` and `meltpoint plan` with nothing to do, here and beside a source of 100,000 files."""

import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from meltpoint.params.yaml12 import dump, load
from reporting import Row
from stubbed import call, make_repository

ROUNDS, FILES = 3, 100_000
LOOK = "fingerprint"  # the stage that always runs
READERS = ("split", "augment", "register")  # of data/raw; what it holds they take from tables
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
    """The same at `FILES` files, and what `dvc repro` takes where each stage that reads data/raw depends on it."""
    once, each = folder / "once", folder / "each"
    for one in (once, each):
        make_repository(one, FILES)
    _depend_on_pictures(each / "dvc.yaml")
    for one in (once, each):
        call(one, "dvc", "repro")
    rows, where = [], f"{FILES:,} files"
    for what, words in WHAT.items():
        rival = what == "dvc repro"
        pairs = [(_time(once, words), _time(each, words) if rival else None) for _ in range(ROUNDS)]
        rows.append(_row(what, [own for own, _ in pairs], where))
        if rival:
            rows.append(_row(f"{what}, data/raw a dep of three stages", [other for _, other in pairs if other], where))
    return rows


def _depend_on_pictures(file: Path) -> None:
    content = load(file.read_text(encoding="utf-8"))
    for name in READERS:
        content["stages"][name]["deps"].append("data/raw")
    file.write_text(dump(content), encoding="utf-8")


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
