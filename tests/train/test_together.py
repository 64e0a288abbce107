"""Trainings whose processes are lost, stand on several machines, or were started by torchrun: the same model."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meltpoint.params.recipe import Recipe

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
pytestmark = pytest.mark.slow
Run = Callable[..., str]


@pytest.fixture
def train(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Train in a process of its own, with changes of `train:`; what it printed."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", *sys.path]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("stage.py").write_text(CODE)
    Path("lost.py").write_text(LOST)

    def write(name: str, **machine: Any) -> list[str]:
        recipe: Recipe = scene.recipe(change=lambda raw: raw["train"].update(threads=2, **machine))
        Path(f"{name}.json").write_text(recipe.model_dump_json())
        return ["stage.py", str(scene.folder), f"{name}.json", name]

    def run(name: str, *worker: str, before: tuple[str, ...] = (), **machine: Any) -> str:
        command = [sys.executable, *before, *write(name, **machine), *worker]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def model(name: str) -> list[bytes]:
    return [Path(name, "model", file).read_bytes() for file in ("model.safetensors", "history.jsonl")]


def test_the_same_comes_of_processes_that_are_lost_of_torchrun_and_of_two_machines(train: Run) -> None:
    train("plain", processes=2)
    printed = train("lost", "lost", processes=2, restarts=1)
    assert "A training process was lost: all go on from the last checkpoint, restart 1." in printed
    assert "continuing from step 4 of 9" in printed
    assert model("lost") == model("plain")
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d")
    train("inside", before=(*torchrun, "--rdzv-endpoint", "127.0.0.1:0"))
    assert model("inside") == model("plain")


def test_a_second_machine_joins_with_the_command_that_is_said(train: Run, scene: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    train("plain", processes=2)
    recipe = scene.recipe(
        change=lambda raw: raw["train"].update(threads=1, processes=1, nodes=2, rendezvous=f"127.0.0.1:{port}")
    )
    Path("two.json").write_text(recipe.model_dump_json())
    command = [sys.executable, "-u", "stage.py", str(scene.folder), "two.json", "two"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        words = next(found[1] for line in first.stdout if (found := re.search(r"Run on each: torchrun (.*)", line)))
        second = subprocess.run([sys.executable, "-m", "torch.distributed.run", *words.split()], check=False)
        first.stdout.read()
    assert (first.returncode, second.returncode) == (0, 0)
    assert model("two") == model("plain")
