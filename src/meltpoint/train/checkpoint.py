"""The saved state of an interrupted training: safetensors and JSON, written whole or not at all."""

import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from meltpoint.errors import UserError
from meltpoint.files import whole_file, write_json
from meltpoint.terminal import say
from meltpoint.train.history_file import HISTORY

STATE = "state.safetensors"
RUN = "run.json"
LOCK = "lock"
FACTS = "facts"
KEPT = 1  # interrupted trainings of other settings that are kept beside the current one
GONE = ".gone"  # at the end of the name of a checkpoint that is being removed


class CheckpointError(UserError, RuntimeError):
    """A checkpoint folder is in use, or cannot be read."""


@dataclass(frozen=True)
class Saved:
    """The state of a training at some step: tensors by `<part>/<name>`, and facts that JSON can hold."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of a part, by their names in it."""
        start = f"{name}/"
        return {key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)}


@dataclass(frozen=True)
class Checkpoint:
    """The folder of one training, named by its strategy and the key of all it depends on."""

    folder: Path

    def resume(self) -> Saved | None:
        """The last saved state, or None; later lines of the history are removed, so that no step stands there twice."""
        saved = self.read()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / HISTORY).open("ab") as file:
            file.truncate(min(saved.facts[HISTORY] if saved else 0, file.tell()))
        return saved

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append a line to the history; numbers that are not finite are left out, since JSON cannot hold them."""
        line = {"step": step, **{name: value for name, value in metrics.items() if math.isfinite(value)}}
        with (self.folder / HISTORY).open("ab") as file:  # in one write: a crash leaves no half line
            file.write((json.dumps(line) + "\n").encode())

    def read(self) -> Saved | None:
        """The last saved state, on the CPU, or None.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()[FACTS])
                return Saved({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118 - not a mapping
        except Exception as error:  # safetensors raises several kinds, all of them for a damaged file
            raise CheckpointError(
                f"The checkpoint {path} cannot be read: {error}. It has to be a whole safetensors file."
                f" Remove {self.folder} to train from the start."
            ) from error

    def write(self, parts: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> None:
        """Replace the saved state by this one; a reader sees the old file or the new one, never a mixture."""
        path = self.folder / HISTORY
        noted = {**facts, HISTORY: path.stat().st_size if path.exists() else 0}  # a line is not written twice
        plain = {
            f"{part}/{name}": value.detach().to("cpu", memory_format=torch.contiguous_format)
            for part, tensors in parts.items()
            for name, value in tensors.items()
        }
        with whole_file(self.folder / STATE) as temporary:
            save_file(plain, temporary, {FACTS: json.dumps(noted, allow_nan=False)})

    def remove(self) -> None:
        """Remove the folder: the training is complete."""
        _remove(self.folder)


@contextmanager
def open_checkpoint(root: Path, strategy: str, key: str) -> Iterator[Checkpoint]:
    """The checkpoint of `strategy` with `key` below `root`, held by this process alone while the context lasts.

    Of other interrupted trainings of the strategy the newest is kept, in case the settings come back; older ones go.

    Raises:
        CheckpointError: another process is training the same.
    """
    folder, pattern = root / f"{strategy}-{key[:16]}", re.compile(re.escape(strategy) + r"-[0-9a-f]{1,16}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            write_json(folder / RUN, {"strategy": strategy, "key": key})
            for half_removed in root.glob(f"*{GONE}"):
                shutil.rmtree(half_removed, ignore_errors=True)
            others = [path for path in root.iterdir() if path.is_dir() and pattern.fullmatch(path.name)]
            others = sorted(set(others) - {folder}, key=lambda path: path.stat().st_mtime, reverse=True)
            for stale in others[KEPT:]:
                with suppress(Timeout):  # in use
                    with FileLock(stale / LOCK, timeout=0):
                        _remove(stale)
                    say(f"Removed {stale}: an interrupted training of {strategy} with older settings.")
            yield Checkpoint(folder)
    except Timeout:
        raise CheckpointError(
            f"{strategy} is being trained with the same settings by another process, which holds {folder / LOCK}."
            " Only one can do so at a time. Wait for it, or stop it; it can be continued."
        ) from None


def _remove(folder: Path) -> None:
    """Remove a checkpoint, in one step for whoever looks: half of it would be taken for a whole one."""
    gone = folder.with_name(folder.name + GONE)
    shutil.rmtree(gone, ignore_errors=True)
    folder.replace(gone)
    shutil.rmtree(gone, ignore_errors=True)
