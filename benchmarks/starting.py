"""CPU seconds until a command has said what it has to say: those that only read, and the help of every command."""

import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

from meltpoint.cli import COMMANDS
from reporting import Row

ROUNDS, MOST = 5, 1.0
START = "from meltpoint.cli import main; main()"


def measure(folder: Path) -> list[Row]:
    """Each in a process of its own, medians; `status` and `history` where the decision is, if there is one."""
    del folder  # nothing is written
    helps = {name: _spent(name, "--help") for name in COMMANDS}
    slowest = max(helps, key=lambda name: helps[name])
    spent = {"--help": _spent("--help"), "status": _spent("status"), "history": _spent("history")}
    note = f"CPU seconds with Python's own start ({_spent(program='pass'):.2f}); at most {MOST:g} is asked"
    rows = [Row(f"starting meltpoint {words}", seconds, None, "", note) for words, seconds in spent.items()]
    return [*rows, Row("starting the help of a command, the slowest", helps[slowest], None, "", slowest)]


def _spent(*words: str, program: str = START) -> float:
    """CPU seconds, user's and system's."""
    taken = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(taken)
