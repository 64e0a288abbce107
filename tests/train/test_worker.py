import os
from pathlib import Path
from typing import Any

import pytest

from meltpoint.files import read_json, write_json
from meltpoint.params.training import FinetuneStrategy
from meltpoint.train import worker
from meltpoint.train.finite import TrainingError
from meltpoint.train.worker import describe_job, main


@pytest.fixture
def job(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that this process works on as if it were a worker that has met the others."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    path = tmp_path / "job.json"
    write_json(path, describe_job(scene.params(), "finetune", scene.folder / "views"))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("sys.argv", ["worker", str(path)])
    monkeypatch.setattr(worker, "_join", lambda: None)
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    monkeypatch.setattr(worker.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(os, "_exit", leave)
    return path


def test_a_worker_gets_what_its_parent_has(job: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    monkeypatch.setattr(worker, "work", lambda *given: got.extend(given))
    main()
    params, strategy, goal, views, checkpoint = got
    assert params == scene.params()
    assert isinstance(strategy, FinetuneStrategy)
    assert (goal.main, len(goal.train.ids), views.fingerprint) == ("shade", 41, "some views")
    assert checkpoint.folder == job.parent


def test_trouble_for_the_user_is_written_down(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise TrainingError("too hot")

    monkeypatch.setattr(worker, "work", fail)
    with pytest.raises(SystemExit):
        main()
    assert job.with_name("trouble-1.txt").read_text() == "too hot"


def test_a_bug_keeps_its_traceback(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "work", fail)
    with pytest.raises(ZeroDivisionError):
        main()
    assert read_json(job)["strategy"] == "finetune"
    assert not job.with_name("trouble-1.txt").exists()
