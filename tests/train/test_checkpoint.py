import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from meltpoint.files import read_json
from meltpoint.train import checkpoint as module
from meltpoint.train.checkpoint import LOCK, STATE, Checkpoint, CheckpointError, open_checkpoint
from meltpoint.train.history_file import HISTORY, read_history

KEY = "0123456789abcdef" * 4


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    weights = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    best = torch.tensor(0.1, dtype=torch.float64)
    assert checkpoint.read() is None
    checkpoint.write({"weights": {"a": weights}, "best": {"a.b": best}}, {"step": 3, "loss": 0.1 + 0.2})
    saved = checkpoint.read()
    assert saved is not None
    assert torch.equal(saved.part("weights")["a"], weights)
    assert torch.equal(saved.part("best")["a.b"], best)
    assert saved.facts == {"step": 3, "loss": 0.1 + 0.2, "history.jsonl": 0}


def test_a_writing_that_fails_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.write({"weights": {"a": torch.ones(1)}}, {"step": 1})

    def die(tensors: Mapping[str, torch.Tensor], path: Path, *_: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_file", die)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write({"weights": {"a": torch.zeros(1)}}, {"step": 2})
    saved = checkpoint.read()
    assert saved is not None
    assert saved.facts["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def test_a_continued_history_forgets_what_came_after(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.log({"epoch": 1}, 1)
    checkpoint.write({}, {"step": 1})
    checkpoint.log({"epoch": 2}, 2)
    checkpoint.resume()
    assert (tmp_path / HISTORY).read_text() == '{"step": 1, "epoch": 1}\n'


def test_a_start_forgets_the_history(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.log({"epoch": 1}, 1)
    assert checkpoint.resume() is None
    assert (tmp_path / HISTORY).read_bytes() == b""


def test_a_history_is_a_json_object_a_line_and_never_made_longer(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.log({"epoch": 0.5, "train/loss": 1.25}, 3)
    checkpoint.log({"epoch": 1, "val/loss": float("nan")}, 6)
    lines = [{"step": 3, "epoch": 0.5, "train/loss": 1.25}, {"step": 6, "epoch": 1}]
    assert list(read_history(tmp_path / HISTORY)) == lines
    checkpoint.write({}, {"step": 6})
    (tmp_path / HISTORY).write_bytes(b"")
    checkpoint.resume()
    assert (tmp_path / HISTORY).read_bytes() == b""


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"no tensors here")
    with pytest.raises(CheckpointError, match=r"state\.safetensors cannot be read.*Remove .* to train from the start"):
        Checkpoint(tmp_path).read()


def test_the_folder_says_what_it_is(tmp_path: Path) -> None:
    with open_checkpoint(tmp_path, "frozen", KEY) as checkpoint:
        assert checkpoint.folder == tmp_path / "frozen-0123456789abcdef"
        assert read_json(checkpoint.folder / "run.json") == {"strategy": "frozen", "key": KEY}
        checkpoint.remove()
    assert not list(tmp_path.iterdir())


def test_two_trainings_of_one_key_do_not_meet(tmp_path: Path) -> None:
    with (
        open_checkpoint(tmp_path, "frozen", KEY),
        pytest.raises(CheckpointError, match="frozen is being trained .* by another process.*Wait for it"),
        open_checkpoint(tmp_path, "frozen", KEY),
    ):
        pass


def interrupted(root: Path, name: str, age: int) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / STATE).touch()
    os.utime(folder, (1e9 - age, 1e9 - age))
    return folder


def test_older_interrupted_trainings_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = interrupted(tmp_path, "frozen-" + "a" * 16, 20), interrupted(tmp_path, "frozen-" + "b" * 16, 10)
    other = interrupted(tmp_path, "frozen-two-" + "c" * 16, 30)
    with open_checkpoint(tmp_path, "frozen", KEY):
        pass
    assert not old.exists()
    assert new.exists()
    assert other.exists()
    assert f"Removed {old}" in capsys.readouterr().out


def test_a_training_that_runs_is_not_stale(tmp_path: Path) -> None:
    old = interrupted(tmp_path, "frozen-" + "a" * 16, 20)
    interrupted(tmp_path, "frozen-" + "b" * 16, 10)
    with FileLock(old / LOCK):
        os.utime(old, (9e8, 9e8))
        with open_checkpoint(tmp_path, "frozen", KEY):
            assert (old / STATE).exists()


def test_one_that_is_half_removed_is_not_taken_for_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill before its first file is gone; the next one sweeps it away."""
    with open_checkpoint(tmp_path, "frozen", "a" * 64) as checkpoint:
        (checkpoint.folder / "trained").mkdir()
        with monkeypatch.context() as killed:
            killed.setattr(shutil, "rmtree", lambda *_, **__: None)
            checkpoint.remove()
        assert not checkpoint.folder.exists()
    with open_checkpoint(tmp_path, "frozen", "a" * 64) as checkpoint:
        assert not (checkpoint.folder / "trained").exists()
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.folder.name]
