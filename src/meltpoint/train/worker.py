"""One of several training processes: `python -m meltpoint.train.worker JOB`, which `launch` starts."""

import os
import sys
import threading
from pathlib import Path
from typing import cast

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined] # its documented place

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.images.views import open_views
from meltpoint.params.recipe import Recipe
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.device import device_type
from meltpoint.train.embed import open_features
from meltpoint.train.job import Job, SharedStrategy, load_strategy
from meltpoint.train.launch import ADDRESS, PORT, TIMEOUT, TROUBLE, end_with_parent
from meltpoint.train.problem import build_problem


def main() -> None:
    """Join the other processes, train, and leave."""
    job = Path(sys.argv[1])
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        _join()
        _train(job)
    except UserError as error:
        job.with_name(TROUBLE.format(rank=os.environ["RANK"])).write_text(str(error), encoding="utf-8")
        os._exit(1)  # the others wait for this one, and it shall not wait for them
    distributed.destroy_process_group()


def _train(path: Path) -> None:
    facts = read_json(path)
    recipe, views = Recipe.model_validate(facts["recipe"]), open_views(Path(facts["views"]))
    problem, features = build_problem(views, recipe), open_features(Path(facts["features"]))
    strategy = cast(SharedStrategy, load_strategy(recipe.settings.kind))
    strategy.work(Job(recipe, views, features, problem, Checkpoint(path.parent)))


def _join() -> None:
    """Meet the other processes: NCCL between GPUs, Gloo between CPUs."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    on_gpu = device_type() == "cuda"
    if on_gpu:
        torch.cuda.set_device(rank)
    store = TCPStore(ADDRESS, int(os.environ[PORT]), is_master=False, timeout=TIMEOUT)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=processes, timeout=TIMEOUT
    )


if __name__ == "__main__":
    main()
