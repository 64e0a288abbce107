"""A training in several processes, of one machine or of several, started and watched by torch's elastic agents."""

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

from meltpoint.errors import Terminated, UserError
from meltpoint.files import write_json
from meltpoint.terminal import say
from meltpoint.train.job import Job

WORKER = "meltpoint.train.worker"
ADDRESS, RUN = "127.0.0.1", "train"
JOB = "job.json"  # in the checkpoint folder: what the workers train
LOGS = "workers"  # a folder beside it, for what the agent notes of their errors
TORCH_LOGGERS = ("multiprocessing.api", "agent.server.api")  # of torch.distributed.elastic
USER_ERROR = 3  # exit code of a worker that ends with a message for the user


class LaunchError(UserError, RuntimeError):
    """One of the training processes ended with a message for the user."""


def launch(job: Job[Any]) -> None:
    """Call `work` of the job's strategy in all processes of all machines at once, and wait for them.

    If one is lost, all are stopped and begin again at the last checkpoint, as often as `train.restarts` says.

    Raises:
        LaunchError: a worker ended with a message for the user; the others are stopped.
        RuntimeError: a worker crashed once more; the others are stopped.
    """
    machine = job.recipe.machine
    run_workers(write_job(job), machine.processes or 1, machine.nodes or 1, machine.rendezvous, machine.restarts)


def write_job(job: Job[Any]) -> Path:
    """Write down what workers train; where that stands."""
    path, machine = job.checkpoint.folder / JOB, job.recipe.machine
    facts = {
        "recipe": job.recipe.model_dump(mode="json", by_alias=True),
        "views": str(job.views.folder.absolute()),
        "features": str(job.features.folder.absolute()),
        "threads": max(1, (machine.threads or torch.get_num_threads()) // (machine.processes or 1)),  # an even share
        "parent": None if machine.rendezvous else os.getpid(),
    }
    write_json(path, facts)
    return path


def run_workers(job: Path, processes: int, nodes: int = 1, meeting: str | None = None, restarts: int = 0) -> None:
    """Run `processes` workers on the job described in a file, as `launch` says; they meet on a free port of ours.

    With those of `nodes` machines they meet at `meeting`, an address of this one; what to run on the others is said.
    SIGTERM stops them, and then ends this process as `Terminated` does.
    """
    if nodes > 1:
        others = f"torchrun --nnodes {nodes} --nproc-per-node {processes} --max-restarts {restarts} --rdzv-id {RUN}"
        others += f" --rdzv-backend c10d --rdzv-endpoint {meeting} -m {WORKER} {job.absolute()}"
        say(f"Waiting for {nodes - 1} more machine(s), with this folder at the same place. Run on each: {others}")
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=RUN,
        rdzv_backend="c10d",
        rdzv_endpoint=meeting or f"{ADDRESS}:0",
        local_addr=meeting.rpartition(":")[0] if meeting else ADDRESS,
        max_restarts=restarts,
        signals_to_handle="SIGTERM",
        logs_specs=DefaultLogsSpecs(log_dir=str(job.parent / LOGS)),
    )
    before = signal.getsignal(signal.SIGTERM)
    for name in TORCH_LOGGERS:  # what they would print of a worker that failed or was stopped is printed once, by us
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    try:
        elastic_launch(config, sys.executable)("-m", WORKER, str(job))
    except SignalException:
        raise Terminated from None
    except ChildFailedError as error:
        for failure in error.failures.values():
            if failure.exitcode == USER_ERROR:
                message: str = failure.error_file_data["message"]["message"]  # "TrainingError: The loss ..."
                raise LaunchError(message.partition(": ")[2]) from None
        rank, _ = error.get_first_failure()
        raise RuntimeError(f"Training process {rank + 1} of {processes} crashed; its traceback is above.") from None
    finally:
        signal.signal(signal.SIGTERM, before)  # the agent has set its own
