"""Shows a training in MLflow while it runs: `python -m meltpoint.tracking.live_logging FOLDER`, which training starts.

It reads FOLDER/history.jsonl as it grows. Standard input is a pipe that training holds: "done" ends the run well, and
the end of the pipe without it means that training died. An error of MLflow is one line on stderr and never stops a
training. What could not be written is tried again, and the stage `register` writes what is still missing.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from meltpoint.errors import guarded
from meltpoint.files import read_json
from meltpoint.params.read import read_params
from meltpoint.terminal import complain
from meltpoint.tracking.pipeline_state import read_state
from meltpoint.tracking.runs import FINISHED, KILLED, close, open_child, open_parent, reopen
from meltpoint.tracking.store import Store, open_store
from meltpoint.tracking.training_curves import LoggedSteps, Tail, now, points_of

if TYPE_CHECKING:
    from mlflow.entities import Run

EVERY = 2.0  # seconds between two looks at the file
LONGEST_START = 30.0  # seconds until training writes what it is
LONGEST_PAUSE = 60.0  # seconds between two attempts while MLflow fails


@dataclass(frozen=True)
class LoggedTraining:
    """The runs of one training, found or made."""

    store: Store
    parent: "Run"
    child: "Run"
    written: LoggedSteps

    @classmethod
    def find(cls, folder: Path) -> "LoggedTraining":
        """The runs that FOLDER/run.json and the params.yaml of the working directory name; both are running now."""
        names = read_json(folder / "run.json")
        params = read_params()
        name = params.register_.name
        state, store = read_state(name, params.effective), open_store(name)
        parent = open_parent(store, state)
        child = open_child(store, state, names["strategy"], names["key"])
        reopen(store, parent)
        reopen(store, child)
        return cls(store, parent, child, LoggedSteps.of(store, child.info.run_id))

    def close(self, status: str) -> None:
        """Both runs ended in the same way; `register` corrects the parent if other strategies follow."""
        close(self.store, self.child, status)
        close(self.store, self.parent, status)


@dataclass
class LiveLogger:
    """Copies lines from the file to MLflow; after a failure it waits longer each time, and tries the lines again."""

    tail: Tail
    find: Callable[[], LoggedTraining]
    watched: LoggedTraining | None = None
    pause: float = EVERY
    warned: bool = field(default=False)

    def step(self) -> bool:
        """Write what is new; False if MLflow, or anything else, failed."""
        try:
            self.watched = self.watched or self.find()
            lines, offset = self.tail.read()
            stamp = now()
            self.watched.written.add(points_of(lines, stamp, stamp))
            self.tail.offset = offset
        except Exception as error:  # noqa: BLE001 - training goes on whatever happened here
            self._warn(error)
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
            return False
        self.pause = EVERY
        return True

    def end(self, status: str) -> bool:
        """Write the rest and how it ended, in one attempt; False if that failed."""
        if not self.step() or self.watched is None:
            return False
        try:
            self.watched.close(status)
        except Exception as error:  # noqa: BLE001 - as above
            self._warn(error)
            return False
        return True

    def _warn(self, error: Exception) -> None:
        if not self.warned:
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            complain(reason)
        self.warned = True


def follow(follower: LiveLogger, words: TextIO) -> bool:
    """Follow until `words` says "done" or ends; False if something could not be written."""
    over = threading.Event()
    said: list[str] = []

    def listen() -> None:
        said.extend(line.strip() for line in words)
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    while not over.wait(follower.pause):
        follower.step()
    return follower.end(FINISHED if "done" in said else KILLED)


def main() -> None:
    """Follow the training whose checkpoint folder is the first argument; exit code 1 if something is left unwritten."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops training, and then the pipe tells
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # training waits for the last lines, and not for long
    logging.disable(logging.CRITICAL)  # MLflow prints a traceback for each failed call
    folder = Path(sys.argv[1])
    deadline = time.monotonic() + LONGEST_START
    while not (folder / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    follower = LiveLogger(Tail(folder / "history.jsonl"), lambda: LoggedTraining.find(folder))
    raise SystemExit(0 if follow(follower, sys.stdin) else 1)


if __name__ == "__main__":
    guarded(main)
