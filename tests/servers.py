"""Programs that listen, started on a free port of this machine and stopped at the end."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

MLFLOW, OURS = ("-m", "mlflow"), ("-c", "from meltpoint.cli import main; main()")


@contextmanager
def started(folder: Path, path: str, *words: str, program: Sequence[str] = MLFLOW) -> Iterator[str]:
    """The address of a program, as a rule `mlflow WORDS`, on a free port once `path` answers; stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }  # fmt: skip
    with (folder / f"{port}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *program, *words, "--port", port],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}{path}", process, folder / f"{port}.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)
            process.wait(120)


def wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(address, timeout=30).ok:
                return
        except (requests.ConnectionError, requests.Timeout):  # nobody there yet, or still at its first answer
            time.sleep(0.3)
    raise AssertionError(f"{address} does not answer:\n{log.read_text()}")
