import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meltpoint.train import launch, worker
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.job import Job
from meltpoint.train.nan_check import TrainingError
from meltpoint.train.problem import build_problem


@pytest.fixture
def job(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> Job[Any]:
    """A job that this process works on as if it were a worker that has met the others."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    paths: list[Path] = []
    monkeypatch.setattr(launch, "run_workers", lambda path, processes, threads: paths.append(path))
    recipe, views = scene.recipe("finetune"), scene.inputs.views
    made: Job[Any] = Job(recipe, views, scene.inputs.features, build_problem(views, recipe), Checkpoint(tmp_path))
    launch.launch(made)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("sys.argv", ["worker", str(paths[0])])
    monkeypatch.setattr(worker, "_join", lambda: None)
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    monkeypatch.setattr(worker.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(os, "_exit", leave)
    return made


def working(monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
    monkeypatch.setattr(worker, "load_strategy", lambda kind: SimpleNamespace(work=work))


def test_a_worker_gets_what_its_parent_has(job: Job[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Job[Any]] = []
    working(monkeypatch, got.append)
    worker.main()
    assert got[0].recipe == job.recipe
    assert got[0].checkpoint == job.checkpoint
    assert (got[0].problem.main, len(got[0].problem.train.ids), got[0].views.fingerprint) == ("shade", 41, "some views")


def test_trouble_for_the_user_is_written_down(job: Job[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: Job[Any]) -> None:
        raise TrainingError("too hot")

    working(monkeypatch, fail)
    with pytest.raises(SystemExit):
        worker.main()
    assert (job.checkpoint.folder / "trouble-1.txt").read_text() == "too hot"


def test_a_bug_keeps_its_traceback(job: Job[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: Job[Any]) -> None:
        raise ZeroDivisionError

    working(monkeypatch, fail)
    with pytest.raises(ZeroDivisionError):
        worker.main()
    assert not (job.checkpoint.folder / "trouble-1.txt").exists()
