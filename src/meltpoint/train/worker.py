"""One of several training processes: `python -m meltpoint.train.worker JOB`, which `launch` starts."""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined] # its documented place

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.images.views import open_views
from meltpoint.params.read import Params, parse_params
from meltpoint.params.training import FinetuneStrategy
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.device import device_type
from meltpoint.train.finetune import work
from meltpoint.train.goal import build_goal
from meltpoint.train.launch import ADDRESS, PORT, TIMEOUT, TROUBLE, end_with_parent


def describe_job(params: Params, strategy: str, views: Path) -> dict[str, Any]:
    """What a worker has to know, as JSON can hold it."""
    return {
        "params": params.model_dump(mode="json", by_alias=True),
        "strategy": strategy,
        "views": str(views.absolute()),
    }


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


def _train(job: Path) -> None:
    facts = read_json(job)
    params = parse_params(facts["params"], "params.yaml")
    strategy, views = params.strategies[facts["strategy"]], open_views(Path(facts["views"]))
    assert isinstance(strategy, FinetuneStrategy)
    work(params, strategy, build_goal(views, params), views, Checkpoint(job.parent))


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
