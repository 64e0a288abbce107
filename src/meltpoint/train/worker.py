"""One of several training processes: `python -m meltpoint.train.worker JOB`, which `launch` starts."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import record

from meltpoint.errors import UserError, guarded
from meltpoint.files import read_json
from meltpoint.images.views import open_views
from meltpoint.params.recipe import Recipe
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.device import device_type
from meltpoint.train.embed import open_features
from meltpoint.train.job import Job, load_strategy
from meltpoint.train.launch import USER_ERROR
from meltpoint.train.problem import build_problem


@record
def work(path: Path, facts: dict[str, Any]) -> None:
    """Join the other processes (NCCL between GPUs, Gloo between CPUs), train, and leave."""
    torch.set_num_threads(facts["threads"])
    os.environ["OMP_NUM_THREADS"] = str(facts["threads"])  # accelerate would choose for itself
    on_gpu = device_type() == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    recipe, views = Recipe.model_validate(facts["recipe"]), open_views(Path(facts["views"]))
    problem, features = build_problem(views, recipe), open_features(Path(facts["features"]))
    strategy: Any = load_strategy(recipe.settings.kind)  # one with `work`
    strategy.work(Job(recipe, views, features, problem, Checkpoint(path.parent)))
    distributed.destroy_process_group()


def end_with_parent(parent: int) -> None:
    """End this process when its parent has ended, however that did: for a thread."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Work on the job that the command line names."""
    path = Path(sys.argv[1])
    facts = read_json(path)
    threading.Thread(target=end_with_parent, args=(facts["parent"],), daemon=True).start()
    try:
        work(path, facts)
    except UserError:
        os._exit(USER_ERROR)  # at once: the others wait for this one, and this one must not wait for them


if __name__ == "__main__":
    guarded(main)
