"""The live follower shows a training while it runs, survives what MLflow does, and never writes a point twice."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meltpoint.tracking.live_logging import EVERY, LiveLogger, LoggedTraining, follow
from meltpoint.tracking.store import Point, Store, open_store
from meltpoint.tracking.training_curves import Tail

LINES = [{"step": step, "epoch": step / 2, "train/loss": 1 / step} for step in range(1, 9)]
TEXT = [json.dumps(line) + "\n" for line in LINES]


class Runs:
    """Stands in for the runs of a training; `failures` calls of `add` go wrong first."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.steps, self.status = failures, [], ""  # type: ignore[var-annotated]
        self.written = self

    def add(self, points: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the server is on fire\nand more")
        self.steps += [point.step for point in points]

    def close(self, status: str) -> None:
        self.status = status


def follower_of(path: Path, find: Callable[[], Any]) -> LiveLogger:
    path.write_text("".join(TEXT))
    return LiveLogger(Tail(path), find, pause=0.01)


@pytest.mark.parametrize(("words", "status"), [("done\n", "FINISHED"), ("", "KILLED")])
def test_how_it_ends_is_said(tmp_path: Path, words: str, status: str) -> None:
    runs = Runs()
    assert follow(follower_of(tmp_path / "history.jsonl", lambda: runs), io.StringIO(words))
    assert runs.status == status
    assert runs.steps == list(range(1, 9))


def test_trouble_is_one_line_and_what_failed_comes_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Runs(failures=3)
    follower = follower_of(tmp_path / "history.jsonl", lambda: runs)
    assert [follower.step() for _ in range(5)] == [False, False, False, True, True]
    assert runs.steps == list(range(1, 9))
    assert capsys.readouterr().err == "the server is on fire\n"


def test_it_waits_longer_while_mlflow_fails(tmp_path: Path) -> None:
    runs = Runs(failures=20)
    follower = follower_of(tmp_path / "history.jsonl", lambda: runs)
    follower.pause = EVERY
    pauses = [follower.pause for _ in range(7) if not follower.step()]
    assert pauses == [4, 8, 16, 32, 60, 60, 60]


def test_without_mlflow_it_says_that_something_is_left(tmp_path: Path) -> None:
    def find() -> LoggedTraining:
        raise OSError

    assert not follow(follower_of(tmp_path / "history.jsonl", find), io.StringIO("done\n"))


class Training:
    """A training that writes lines, with the real follower beside it."""

    def __init__(self, house: Any, **environment: str) -> None:
        self.folder = house.folder / ".checkpoints" / "frozen-k"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.json").write_text('{"strategy": "frozen", "key": "k"}')
        self.process = subprocess.Popen(
            [sys.executable, "-m", "meltpoint.tracking.live_logging", str(self.folder)],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip

    def write(self, lines: list[str], mode: str = "a") -> None:
        with (self.folder / "history.jsonl").open(mode) as file:
            file.writelines(lines)

    def end(self, word: str) -> tuple[int, str]:
        _, told = self.process.communicate(word, timeout=60)
        return self.process.returncode, told


def losses(store: Store) -> list[Point]:
    """The points of the only child there is."""
    found = store.client.search_runs([store.experiment], "tags.strategy = 'frozen'")
    return store.client.get_metric_history(found[0].info.run_id, "train/loss") if found else []


def status_of(store: Store) -> dict[str, str]:
    return {run.data.tags["stage"]: run.info.status for run in store.client.search_runs([store.experiment])}


@pytest.mark.slow
def test_a_training_that_dies_and_goes_on_is_one_run(house: Any) -> None:
    store, first = open_store("shapes"), Training(house)
    first.write(TEXT[:5])
    deadline = time.monotonic() + 60
    while not losses(store) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(losses(store)) == 5, "points are there while training runs"
    assert status_of(store) == {"pipeline": "RUNNING", "train": "RUNNING"}
    assert first.end("") == (0, "")
    assert status_of(store) == {"pipeline": "KILLED", "train": "KILLED"}

    second = Training(house)  # goes on from the checkpoint of step 3
    second.write(TEXT[:3], "w")
    second.write(TEXT[3:])
    assert second.end("done\n") == (0, "")
    assert [point.step for point in losses(store)] == list(range(1, 9))
    assert status_of(store) == {"pipeline": "FINISHED", "train": "FINISHED"}
    assert len(store.client.search_runs([store.experiment])) == 2
    assert house.state.digest == store.client.search_runs([store.experiment])[0].data.tags["meltpoint.state"]


@pytest.mark.slow
def test_a_dead_server_is_a_line(house: Any) -> None:
    training = Training(house, MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    training.write(TEXT)
    code, told = training.end("done\n")
    assert code == 1
    assert len(told.splitlines()) == 1
    assert "http://127.0.0.1:1" in told
