"""A training inside `torchrun`: its first process runs the stage, and the others wait for what it asks of them.

They are told the path of a job through the store that torchrun's processes share; an empty path ends them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from meltpoint.files import read_json
from meltpoint.params.recipe import Recipe
from meltpoint.train.worker import work

LONGEST = timedelta(days=7)  # that a process waits for the first one


def is_inside() -> bool:
    """Whether torchrun, or another of torch's elastic agents, started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def group(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe for all processes of torchrun, whose number counts; without torchrun the same recipe.

    Every process but the first does here what that asks for, and ends with it. So only the first one writes.
    """
    if not is_inside():
        yield recipe
        return
    if int(os.environ["RANK"]):
        _serve()
        raise SystemExit(0)
    machine = recipe.machine.model_copy(update={"processes": int(os.environ["WORLD_SIZE"]), "nodes": None})
    yield recipe.model_copy(update={"machine": machine})
    _tell("")


def work_together(job: Path) -> None:
    """Let all processes work on the job described in a file, this one too."""
    _tell(str(job.absolute()))
    work(job, read_json(job))


_told = 0  # words that the first process has written


def _tell(word: str) -> None:
    global _told
    _store().set(_key(_told), word)
    _told += 1


def _serve() -> None:
    store, heard = _store(), 0
    while True:
        store.wait([_key(heard)], LONGEST)
        if not (word := store.get(_key(heard)).decode()):
            return
        work(Path(word), read_json(Path(word)))
        heard += 1


def _key(number: int) -> str:
    return f"meltpoint/{os.environ['TORCHELASTIC_RESTART_COUNT']}/{number}"


def _store() -> TCPStore:
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
