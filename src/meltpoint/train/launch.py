"""A training in several processes of this machine, started and watched by torch's elastic agent."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from meltpoint.errors import UserError
from meltpoint.files import write_json
from meltpoint.train.job import Job

WORKER = "meltpoint.train.worker"
ADDRESS = "127.0.0.1"
JOB = "job.json"  # in the checkpoint folder: what the workers train
LOGS = "workers"  # a folder beside it, for what the agent notes of their errors
TORCH_LOGGERS = ("multiprocessing.api", "agent.server.api")  # of torch.distributed.elastic
USER_ERROR = 3  # exit code of a worker that ends with a message for the user


class LaunchError(UserError, RuntimeError):
    """One of the training processes ended with a message for the user."""


def launch(job: Job[Any]) -> None:
    """Call `work` of the job's strategy in `train.processes` processes at once, and wait for all of them.

    Raises:
        LaunchError: a worker ended with a message for the user; the others are stopped.
        RuntimeError: a worker crashed; the others are stopped.
    """
    path, machine = job.checkpoint.folder / JOB, job.recipe.machine
    processes = machine.processes or 1
    facts = {
        "recipe": job.recipe.model_dump(mode="json", by_alias=True),
        "views": str(job.views.folder.absolute()),
        "features": str(job.features.folder.absolute()),
        "threads": max(1, (machine.threads or torch.get_num_threads()) // processes),  # of torch, an even share
        "parent": os.getpid(),
    }
    write_json(path, facts)
    run_workers(path, processes)


def run_workers(job: Path, processes: int) -> None:
    """Run `processes` workers on the job described in a file, as `launch` says; they meet on a free port of ours.

    SIGTERM stops them, and then ends this process as Ctrl-C does.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="train",
        rdzv_backend="c10d",
        rdzv_endpoint=f"{ADDRESS}:0",
        local_addr=ADDRESS,
        max_restarts=0,
        signals_to_handle="SIGTERM",
        logs_specs=DefaultLogsSpecs(log_dir=str(job.parent / LOGS)),
    )
    before = signal.getsignal(signal.SIGTERM)
    for name in TORCH_LOGGERS:  # what they would print of a worker that failed or was stopped is printed once, by us
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    try:
        elastic_launch(config, sys.executable)("-m", WORKER, str(job))
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        for failure in error.failures.values():
            if failure.exitcode == USER_ERROR:
                message: str = failure.error_file_data["message"]["message"]  # "TrainingError: The loss ..."
                raise LaunchError(message.partition(": ")[2]) from None
        rank, _ = error.get_first_failure()
        raise RuntimeError(f"Training process {rank + 1} of {processes} crashed; its traceback is above.") from None
    finally:
        signal.signal(signal.SIGTERM, before)  # the agent has set its own
