"""Workers as they are: processes of their own, told what to do by a file."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from meltpoint.train import launch as module
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.job import Job
from meltpoint.train.launch import LaunchError, launch
from meltpoint.train.problem import build_problem

DOUBLE = """
import json, os, time
from types import SimpleNamespace
from meltpoint.train import worker
from meltpoint.train.losses import TrainingError

def work(job):
    rank = int(os.environ["RANK"])
{body}

worker.load_strategy = lambda kind: SimpleNamespace(work=work)
worker.main()
"""


def run(job: Job[Any], monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Launch workers of a strategy whose `work` is these lines."""
    folder = job.checkpoint.folder
    (folder / "double.py").write_text(DOUBLE.format(body="\n".join(f"    {line}" for line in lines)))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(folder), *sys.path]))
    monkeypatch.setattr(module, "WORKER", "double")
    launch(job)


@pytest.fixture
def job(tmp_path: Path, scene: Any) -> Job[Any]:
    recipe = scene.recipe("finetune", lambda raw: raw["train"].update(processes=2, threads=8))
    views = scene.inputs.views
    return Job(recipe, views, scene.inputs.features, build_problem(views, recipe), Checkpoint(tmp_path))


@pytest.mark.slow
def test_a_worker_gets_what_its_parent_has(job: Job[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run(
        job,
        monkeypatch,
        "seen = [job.recipe.model_dump(mode='json', by_alias=True), job.problem.main, len(job.problem.train.ids)]",
        "import torch; seen += [job.views.fingerprint, job.features.fingerprint, torch.get_num_threads()]",
        "(job.checkpoint.folder / f'seen-{rank}').write_text(json.dumps(seen))",
    )
    wanted = [job.recipe.model_dump(mode="json", by_alias=True), "shade", 41, "some views", job.features.fingerprint]
    wanted.append(4)  # threads: an even share
    for rank in range(2):
        assert json.loads((job.checkpoint.folder / f"seen-{rank}").read_text()) == json.loads(json.dumps(wanted))


@pytest.mark.slow
def test_a_message_for_the_user_reaches_the_user_alone(
    job: Job[Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The other process, which waits for this one, is stopped."""
    with pytest.raises(LaunchError, match="^too hot: 9$"):
        run(job, monkeypatch, "if rank == 0: time.sleep(600)", "raise TrainingError('too hot: 9')")
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_bug_keeps_its_traceback(
    job: Job[Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="Training process 2 of 2 crashed") as caught:
        run(job, monkeypatch, "if rank == 0: time.sleep(600)", "1 / 0")
    assert not isinstance(caught.value, LaunchError)
    printed = capfd.readouterr().err
    assert "Traceback" in printed
    assert "ZeroDivisionError: division by zero" in printed
