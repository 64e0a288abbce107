"""Several training processes on one machine: started, watched, and gone when this one is."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined] # its documented place

from meltpoint.errors import UserError
from meltpoint.files import write_json
from meltpoint.train.device import share_threads
from meltpoint.train.job import Job

WORKER = "meltpoint.train.worker"
ADDRESS = "127.0.0.1"
JOB = "job.json"  # in the checkpoint folder: what the workers train
PORT = "MELTPOINT_PORT"  # environment variable of the workers
TROUBLE = "trouble-{rank}.txt"  # in the checkpoint folder: what a worker tells the user
TIMEOUT = timedelta(minutes=30)
LOOK = 0.1  # seconds between two looks at the workers


class LaunchError(UserError, RuntimeError):
    """One of the training processes ended with a message for the user."""


def launch(job: Job[Any]) -> None:
    """Call `work` of the job's strategy in `train.processes` at once, until all have ended well.

    Raises:
        LaunchError: a worker ended with a message for the user; the others are stopped.
        RuntimeError: a worker crashed.
    """
    path, machine = job.checkpoint.folder / JOB, job.recipe.machine
    recipe = job.recipe.model_dump(mode="json", by_alias=True)
    folders = {"views": str(job.views.folder.absolute()), "features": str(job.features.folder.absolute())}
    write_json(path, {"recipe": recipe, **folders})
    run_workers(path, machine.processes or 1, share_threads(machine))


def run_workers(job: Path, processes: int, threads: int) -> None:
    """Run `processes` workers on the job described in a file, until all have ended well.

    The workers meet at a store that this process holds open, on a port that the system chose. Each holds the end of a
    pipe to this process, and ends when it does, however it ends.

    Raises:
        LaunchError: a worker ended with a message for the user; the others are stopped.
        RuntimeError: a worker crashed.
    """
    meeting = TCPStore(ADDRESS, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
    workers = [_start(job, rank, processes, threads, meeting.port) for rank in range(processes)]
    try:
        while any(worker.poll() is None for worker in workers):
            _check(workers, job.parent)
            time.sleep(LOOK)
        _check(workers, job.parent)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()  # closes the pipe
        del meeting


def end_with_parent() -> None:
    """Wait for the other end of the pipe to be gone, and then end this process at once: for a thread of a worker."""
    os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, which would be locked when this process ends by itself
    os._exit(1)


def _start(job: Path, rank: int, processes: int, threads: int, port: int) -> "subprocess.Popen[bytes]":
    (job.parent / TROUBLE.format(rank=rank)).unlink(missing_ok=True)
    own: Mapping[str, object] = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "OMP_NUM_THREADS": threads,
        PORT: port,
    }
    environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
    environment.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    return subprocess.Popen([sys.executable, "-m", WORKER, str(job)], env=environment, stdin=subprocess.PIPE)


def _check(workers: "list[subprocess.Popen[bytes]]", folder: Path) -> None:
    for rank, worker in enumerate(workers):
        code = worker.poll()
        trouble = folder / TROUBLE.format(rank=rank)
        if code and trouble.exists():
            raise LaunchError(trouble.read_text(encoding="utf-8"))
    failed = [rank for rank, worker in enumerate(workers) if worker.poll()]
    if failed:
        raise RuntimeError(f"Training process {failed[0] + 1} of {len(workers)} crashed; its traceback is above.")
