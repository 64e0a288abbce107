"""Trainings whose processes are lost or stopped, stand on several machines, or come from torchrun: the same model."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warm_process import nursery

from meltpoint.params.recipe import Recipe
from meltpoint.train.strategy import train_strategy

CODE = """
import sys
from pathlib import Path
from meltpoint.errors import guarded
from meltpoint.params.recipe import Recipe
from meltpoint.train import launch
from meltpoint.train.strategy import Inputs, train_strategy

launch.WORKER = sys.argv[4] if len(sys.argv) > 4 else launch.WORKER
recipe = Recipe.model_validate_json(Path(sys.argv[2]).read_text())
out = Path(sys.argv[3])
guarded(lambda: train_strategy(recipe, Inputs.below(Path(sys.argv[1]), recipe), out / "model", out / "others"))
"""
# A worker that is lost once, after the checkpoint of step 4, as on a machine that breaks down.
LOST = """
import os, signal
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.worker import main

def stop(self, metrics, step, log=Checkpoint.log):
    log(self, metrics, step)
    if step == 5 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.log = stop
if __name__ == "__main__":
    main()
"""
# A worker that stops the whole training there, and waits.
STOPPED = """
import os, signal, time
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.worker import main

def stop(self, metrics, step, log=Checkpoint.log):
    log(self, metrics, step)
    if step == 5:
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(600)

Checkpoint.log = stop
if __name__ == "__main__":
    main()
"""
pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]


def recipe_of(scene: Any, **machine: Any) -> Recipe:
    recipe: Recipe = scene.recipe(change=lambda raw: raw["train"].update({"threads": 2, **machine}))
    return recipe


def model(name: str) -> list[bytes]:
    return [Path(name, "model", file).read_bytes() for file in ("model.safetensors", "history.jsonl")]


@pytest.fixture(scope="module")
def plain(scene: Any, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What two processes give that nothing disturbs."""
    recipe = recipe_of(scene, processes=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("plain"))
        patch.setenv("MELTPOINT_TRACKING", "off")
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.delenv("DVC_ROOT", raising=False)
        train_strategy(recipe, scene.inputs, Path("plain/model"), Path("plain/others"))
        return model("plain")


@pytest.fixture
def train(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Train in a process of its own, with changes of `train:`; how it ended."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", *sys.path]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, text in (("stage", CODE), ("lost", LOST), ("stopped", STOPPED)):
        Path(f"{name}.py").write_text(text)

    def run(name: str, *worker: str, before: tuple[str, ...] = (), **machine: Any) -> subprocess.CompletedProcess[str]:
        Path(f"{name}.json").write_text(recipe_of(scene, **machine).model_dump_json())
        words = [*before, "stage.py", str(scene.folder), f"{name}.json", name, *worker]
        return subprocess.run([str(nursery() / "python"), *words], capture_output=True, text=True, check=False)

    return run


def test_the_same_comes_of_processes_that_are_lost_and_of_torchrun(train: Run, plain: list[bytes]) -> None:
    lost = train("lost", "lost", processes=2, restarts=1)
    assert lost.returncode == 0, lost.stderr
    assert lost.stdout.count("A training process was lost: all go on from the last checkpoint.") == 1
    assert "continuing from step 4 of 9" in lost.stdout
    assert model("lost") == plain
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d")
    inside = train("inside", before=(*torchrun, "--rdzv-endpoint", "127.0.0.1:0"))
    assert inside.returncode == 0, inside.stderr
    assert model("inside") == plain


def test_sigterm_stops_all_processes_and_the_training_continues(train: Run, plain: list[bytes]) -> None:
    """It ends as Ctrl-C does: with one line, no traceback, and the checkpoint kept."""
    stopped = train("model", "stopped", processes=2)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert "meltpoint: stopped." in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "signal" not in stopped.stderr
    assert not Path("model/model").exists()
    assert "continuing from step 4 of 9" in train("model", processes=2).stdout
    assert model("model") == plain


def test_a_second_machine_joins_with_the_command_that_is_said(train: Run, plain: list[bytes], scene: Any) -> None:
    """One of its processes, or of the first one's, is lost: the agent of the other machine counts no restart."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    recipe = recipe_of(scene, threads=1, processes=1, nodes=2, restarts=1, rendezvous=f"127.0.0.1:{port}")
    Path("two.json").write_text(recipe.model_dump_json())
    command = [sys.executable, "-u", "stage.py", str(scene.folder), "two.json", "two", "lost"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        words = next(found[1] for line in first.stdout if (found := re.search(r"Run on each: (.*)", line)))
        torchrun = words.replace(" torchrun ", f" {sys.executable} -m torch.distributed.run ")
        second = subprocess.run(torchrun, shell=True, stdout=subprocess.PIPE, text=True, check=False)
        told = first.stdout.read() + second.stdout
    assert (first.returncode, second.returncode) == (0, 0)
    assert told.count("A training process was lost: all go on from the last checkpoint.") == 1
    assert model("two") == plain
