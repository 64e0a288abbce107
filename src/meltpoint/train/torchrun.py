"""A training inside `torchrun`: its first process runs the stage, and the others wait for what it asks of them.

They are told the path of a job through the store that torchrun's processes share; an empty path ends them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from meltpoint.files import read_json
from meltpoint.params.recipe import Recipe
from meltpoint.train.launch import OWN_STORE, LaunchError
from meltpoint.train.worker import kept_by_agent, meeting_place, work

PLACE = "meltpoint/"
LONGEST = timedelta(days=7)  # that a process waits for the first one


def is_inside() -> bool:
    """Whether torchrun, or another of torch's elastic agents, started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def group(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe for all processes of torchrun, whose number counts; without torchrun the same recipe.

    Every process but the first does here what that asks for, and ends with it. So only the first one writes.

    Raises:
        LaunchError: torchrun would leave the processes of several machines apart after a restart.
    """
    if not is_inside():
        yield recipe
        return
    several, restarts = os.environ["GROUP_WORLD_SIZE"] != "1", os.environ["TORCHELASTIC_MAX_RESTARTS"] != "0"
    if several and restarts and kept_by_agent():
        raise LaunchError(
            f"torchrun is to restart the processes of {os.environ['GROUP_WORLD_SIZE']} machines, and would bring them"
            f" back together in a store where the lost ones still stand. Set {OWN_STORE}=1 for torchrun on each machine"
            " with --rdzv-backend c10d, or leave out --max-restarts."
        )
    if int(os.environ["RANK"]):
        _serve()
        raise SystemExit(0)
    alone = {"nodes": None, "rendezvous": None, "restarts": 0}  # torchrun's own count
    machine = recipe.machine.model_copy(update={"processes": int(os.environ["WORLD_SIZE"]), **alone})
    yield recipe.model_copy(update={"machine": machine})
    _tell("")
    others = [f"heard by {rank}" for rank in range(1, int(os.environ["WORLD_SIZE"]))]
    if others:  # the store may be this process's own
        meeting_place(PLACE).wait(others, LONGEST)


def work_together(job: Path) -> None:
    """Let all processes work on the job described in a file, this one too."""
    _tell(str(job.absolute()))
    work(job, read_json(job))


_told = 0  # words that the first process has written


def _tell(word: str) -> None:
    global _told
    meeting_place(PLACE).set(str(_told), word)
    _told += 1


def _serve() -> None:
    store, heard = meeting_place(PLACE), 0
    while True:
        store.wait([str(heard)], LONGEST)
        if not (word := store.get(str(heard)).decode()):
            store.set(f"heard by {os.environ['RANK']}", "")
            return
        work(Path(word), read_json(Path(word)))
        heard += 1
