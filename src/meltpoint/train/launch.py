"""A training in several processes, of one machine or of several, started and watched by torch's elastic agents."""

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousTimeoutError
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
OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"  # torch's word: after a restart processes meet in a new store
LONGEST = 24 * 3600  # seconds that a machine waits for the others, also for one that was lost; torch's own are 600
USER_ERROR = 3  # exit code of a worker that ends with a message for the user


class LaunchError(UserError, RuntimeError):
    """One of the training processes ended with a message for the user."""


def launch(job: Job[Any]) -> None:
    """Call `work` of the job's strategy in all processes of all machines at once, and wait for them.

    If one is lost, all are stopped and begin again at the last checkpoint, as often as `train.restarts` says.

    Raises:
        LaunchError: a worker ended with a message for the user, and the others are stopped; or machines cannot meet.
        RuntimeError: a worker crashed once more; the others are stopped.
    """
    machine = job.recipe.machine
    run_workers(write_job(job), machine.processes or 1, machine.nodes or 1, machine.rendezvous, machine.restarts)


def write_job(job: Job[Any]) -> Path:
    """Write down what workers train; where that stands."""
    path, machine = job.checkpoint.folder / JOB, job.recipe.machine
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", machine.processes or 1))  # on this machine; torchrun knows it
    alone = machine.rendezvous is None and os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    facts = {
        "recipe": job.recipe.model_dump(mode="json", by_alias=True),
        "views": str(job.views.folder.absolute()),
        "features": str(job.features.folder.absolute()),
        "threads": max(1, (machine.threads or torch.get_num_threads()) // beside),  # an even share
        "parent": os.getpid() if alone else None,  # of all workers
        "started": False,  # by them
    }
    write_json(path, facts)
    return path


def run_workers(job: Path, processes: int, nodes: int = 1, meeting: str | None = None, restarts: int = 0) -> None:
    """Run `processes` workers on the job described in a file, as `launch` says; they meet on a free port of ours.

    With those of `nodes` machines they meet at `meeting`, an address of this one; what to run on the others is said.
    SIGTERM stops them, and then ends this process as `Terminated` does.
    """
    if nodes > 1:
        assert meeting is not None
        _check_place(meeting)
        os.environ[OWN_STORE] = "1"
        words = f"--nnodes {nodes} --nproc-per-node {processes} --max-restarts {restarts} --rdzv-id {RUN}"
        words += f" --rdzv-backend c10d --rdzv-endpoint {meeting} --rdzv-conf join_timeout={LONGEST}"
        say(
            f"Waiting for {nodes - 1} more machine(s), with this folder at the same place, for {LONGEST // 3600} hours;"
            f" as long for one that is lost, while there are restarts. Run on each: {OWN_STORE}=1 torchrun {words}"
            f" -m {WORKER} {job.absolute()}"
        )
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=RUN,
        rdzv_backend="c10d",
        rdzv_endpoint=meeting or f"{ADDRESS}:0",
        rdzv_configs={"join_timeout": LONGEST},
        local_addr=meeting.rpartition(":")[0] if meeting else ADDRESS,
        max_restarts=restarts,
        signals_to_handle="SIGTERM",
        logs_specs=DefaultLogsSpecs(log_dir=str(job.parent / LOGS)),
    )
    for name in TORCH_LOGGERS:  # what they would print of a worker that failed or was stopped is printed once, by us
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    before = signal.getsignal(signal.SIGTERM)
    try:
        elastic_launch(config, sys.executable)("-m", WORKER, str(job))
    except SignalException:
        raise Terminated from None
    except RendezvousTimeoutError:
        raise LaunchError(
            f"Not all of {nodes} machines have come to {meeting} within {LONGEST // 3600} hours. Start this again, and"
            " then the command that it prints on each of the others: all go on from the last checkpoint."
        ) from None
    except ChildFailedError as error:
        for failure in error.failures.values():
            if failure.exitcode == USER_ERROR:
                message: str = failure.error_file_data["message"]["message"]  # "TrainingError: The loss ..."
                raise LaunchError(message.partition(": ")[2]) from None
        rank, _ = error.get_first_failure()
        raise RuntimeError(f"Training process {rank + 1} of {processes} crashed; its traceback is above.") from None
    finally:
        signal.signal(signal.SIGTERM, before)  # the agent has set its own


def _check_place(meeting: str) -> None:
    """Refuse at once an address that others cannot meet at: torch would try for a minute, or join what is there.

    Raises:
        LaunchError: it is not of this machine, or is taken.
    """
    host, _, port = meeting.rpartition(":")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        raise LaunchError(
            f"train.rendezvous is {meeting!r}, where this machine cannot be met: {error.strerror}. It is HOST:PORT of"
            " the machine on which dvc repro runs, with a port that nothing uses. Correct it."
        ) from None
