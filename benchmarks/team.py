"""Two clones register a new name at once on one real `mlflow server`, one of them killed in every second round.

The servers keep sqlite and PostgreSQL; `tests/rounds.py` says what happens in a round, and what is checked after it.

    python benchmarks/team.py --rounds 3
"""

import argparse
import importlib.util
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from pathlib import Path
from statistics import median

from meltpoint.progress import track

TESTS = Path(__file__).parents[1] / "tests"
ROUNDS = 50
COLUMNS = ("store", "rounds", "first champion", "replaced", "waited", "killed", "behind", "violations", "s a register")
GET_POSTGRES = "not measured, as {} is not installed: apt-get install postgresql; pip install -e '.[server]'"


def measure(folder: Path, rounds: int = ROUNDS) -> list[str]:
    """A table with a line for each store, and below it whatever did not hold."""
    sys.path.insert(0, str(TESTS))
    import_module("finished_pipeline").finish(folder / "finished")
    uri = f"sqlite:///{folder / 'team.db'}"
    lines = [_measure_on("sqlite", uri, folder, rounds)]
    if missing := _missing():
        lines.append((["PostgreSQL", GET_POSTGRES.format(missing)], []))
    else:
        with _postgres() as uri:
            lines.append(_measure_on("PostgreSQL", uri, folder, rounds))
    rows = [COLUMNS, *(row for row, _ in lines)]
    widths = [max(len(row[at]) for row in rows if len(row) == len(COLUMNS)) for at in range(len(COLUMNS))]
    table = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    violations = [violation for _, found in lines for violation in found]
    return [*table, *violations]


def _measure_on(store: str, uri: str, folder: Path, rounds: int) -> tuple[list[str], list[str]]:
    """The line of a store, and what did not hold."""
    place = folder / store
    place.mkdir()
    words = ["--backend-store-uri", uri, "--artifacts-destination", str(place / "kept"), "--workers", "2"]
    with import_module("servers").started(place, "/health", "server", *words) as address:
        team = import_module("rounds").team(folder / "finished", place, address, seed=0)
        for number in track(range(rounds), f"two clones, {store}", unit="round"):
            with redirect_stderr(io.StringIO()):  # bars of the clones
                team.round(f"shapes-{number}", kill=number % 2 == 1)
    found = team.tally
    wins = ", ".join(f"{name} {count}" for name, count in sorted(found.wins.items()))
    counts = (found.replaced, found.waits, found.kills, found.behind, len(found.violations))
    row = [store, str(found.rounds), wins, *map(str, counts), f"{median(found.seconds):.1f}"]
    return row, found.violations


def _missing() -> str | None:
    """What is needed for PostgreSQL and is not there."""
    if _programs() is None:
        return "PostgreSQL"
    return None if importlib.util.find_spec("psycopg") else "psycopg"


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps off the path."""
    found = [Path(path) for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def _postgres() -> Iterator[str]:
    """The address of an empty PostgreSQL that listens on loopback alone; it refuses to run as root."""
    programs = _programs()
    assert programs is not None
    user = "postgres" if os.geteuid() == 0 else None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as name:
        if user:
            shutil.chown(name, user)
        data = f"{name}/data"
        make = [str(programs / "initdb"), "-D", data, "-U", "mlflow", "--auth=trust"]
        subprocess.run(make, user=user, check=True, stdout=subprocess.DEVNULL)
        serve = [str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, "-k", name]
        asks = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port]
        with Path(name, "log").open("w") as log, subprocess.Popen(serve, user=user, stdout=log, stderr=log) as server:
            try:
                while subprocess.run(asks, check=False).returncode:
                    if server.poll() is not None:
                        raise RuntimeError(Path(name, "log").read_text())
                    time.sleep(0.3)
                yield f"postgresql+psycopg://mlflow@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # those who are connected are cut off


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"on each store (default {ROUNDS})")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(measure(Path(folder), asked.rounds)))


if __name__ == "__main__":
    main()
