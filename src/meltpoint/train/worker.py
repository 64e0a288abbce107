"""One of several training processes: `python -m meltpoint.train.worker JOB`, which `launch` or `torchrun` starts."""

import os
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing.errors import record

from meltpoint.errors import UserError, guarded
from meltpoint.files import read_json, write_json
from meltpoint.images.views import open_views
from meltpoint.memory import keep_freed_memory
from meltpoint.params.recipe import Recipe
from meltpoint.terminal import say
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.device import device_type
from meltpoint.train.features import open_features
from meltpoint.train.job import Job, load_strategy
from meltpoint.train.launch import USER_ERROR, LaunchError
from meltpoint.train.problem import build_problem


@record
def work(path: Path, facts: dict[str, Any]) -> None:
    """Join the other processes (NCCL between GPUs, Gloo between CPUs), train, and leave."""
    torch.set_num_threads(facts["threads"])
    os.environ["OMP_NUM_THREADS"] = str(facts["threads"])  # accelerate would choose for itself
    on_gpu = device_type() == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if facts["parent"] is not None:  # all processes are of this machine
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend, place = "nccl" if on_gpu else "gloo", meeting_place(str(path.absolute()))
    distributed.init_process_group(backend, store=place, rank=rank, world_size=size)
    recipe, views = Recipe.model_validate(facts["recipe"]), open_views(Path(facts["views"]))
    problem, features = build_problem(views, recipe), open_features(Path(facts["features"]))
    strategy: Any = load_strategy(recipe.settings.kind)  # one with `work`
    checkpoint, again = Checkpoint(path.parent), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    if rank == 0:
        if again or facts["started"]:  # an agent whose own processes were well does not count it as a restart
            checkpoint.resume()
            say("A training process was lost: all go on from the last checkpoint.")
        write_json(path, {**facts, "started": True})
    strategy.work(Job(recipe, views, features, problem, checkpoint))
    distributed.destroy_process_group()


def meeting_place(name: str) -> Store:
    """Where all processes of this start find each other: words of `name` in the store that they share.

    Either their agent keeps it over all restarts, with the addresses of lost processes in it. Then the number of this
    start parts them; it is the same for all, as one agent has them all. Or the first process opens a new one.
    """
    start = os.environ["TORCHELASTIC_RESTART_COUNT"] if kept_by_agent() else ""
    return PrefixStore(f"{start}{name}", _store())


def kept_by_agent() -> bool:
    """Whether an agent keeps the store."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


@cache
def _store() -> TCPStore:
    hosts = not kept_by_agent() and os.environ["RANK"] == "0"
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=hosts)


def end_with_parent(parent: int) -> None:
    """End this process when its parent has ended, however that did: for a thread."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Work on the job that the command line names.

    Raises:
        LaunchError: this machine does not see it.
    """
    keep_freed_memory()
    path = Path(sys.argv[1])
    if not path.exists():
        raise LaunchError(
            f"There is no {path} on this machine. It has to see the folder of the first machine at the same place, as"
            " on a shared disk; and the command is the one that the training which waits now has printed."
        )
    facts = read_json(path)
    parent = os.getppid() if facts["parent"] is None else facts["parent"]  # on another machine it is torchrun
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    try:
        work(path, facts)
    except UserError:
        os._exit(USER_ERROR)  # at once: the others wait for this one, and this one must not wait for them


if __name__ == "__main__":
    guarded(main)
