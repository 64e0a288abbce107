"""Programs as forked children of a warm process (`nursery.py`): each costs no imports."""

import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).parents[1]
# What stands in for `python`, `dvc` and `meltpoint`; it ends as the child does.
STAND_IN = """\
#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as nursery:
    nursery.connect({address!r})
    asked = {{"words": {words} + sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(nursery, [json.dumps(asked).encode() + b"\\n"], [0, 1, 2])
    answers = nursery.makefile()
    child = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
PROGRAMS = {"python": [], "dvc": ["-m", "dvc"], "meltpoint": ["-c", "from meltpoint.cli import main; main()"]}


@functools.cache
def nursery() -> Path:
    """The folder with the socket of this process's nursery, which ends with this process, and with the programs."""
    folder = Path(tempfile.mkdtemp(prefix="nursery-", dir="/tmp"))  # the names of sockets have a limit
    command = [sys.executable, str(ROOT / "tests" / "nursery.py"), str(folder / "socket")]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def end() -> None:
        process.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for name, words in PROGRAMS.items():
        text = STAND_IN.format(python=sys.executable, address=str(folder / "socket"), words=words)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@dataclass
class WarmProcess:
    """Runs the scripts of `stages` in a folder, with an environment, as children of the nursery."""

    folder: Path
    stages: Path = ROOT / "stages"
    more: dict[str, str] = field(default_factory=dict)
    connection: socket.socket | None = None
    output: IO[bytes] | None = None

    def start(
        self,
        words: tuple[str, ...],
        limit: int | None = None,
        powerless: bool = False,
        kill: tuple[str, int] | None = None,
    ) -> int:
        """The id of the child that runs the stage `words`; `nursery.py` says what the others do."""
        asked: dict[str, Any] = {
            "words": [str(self.stages / f"{words[0]}.py"), *words[1:]], "folder": str(self.folder),
            "environment": environment(**self.more), "limit": limit, "powerless": powerless, "kill": kill,
        }  # fmt: skip
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(str(nursery() / "socket"))
        ours, theirs = os.pipe()  # a limit on files would hold for a log, too
        self.output = open(ours, "rb")  # noqa: PTH123, SIM115 - a number
        with Path(os.devnull).open() as nothing:
            streams = [nothing.fileno(), theirs, theirs]
            socket.send_fds(self.connection, [json.dumps(asked).encode() + b"\n"], streams)
        os.close(theirs)
        self.answers = self.connection.makefile()
        return int(self.answers.readline())

    def end(self) -> int:
        """The exit code of what was started."""
        assert self.connection is not None
        assert self.output is not None
        with self.connection, self.answers, self.output:
            self.log.write_bytes(self.output.read())
            return int(self.answers.readline())

    def said(self) -> str:
        """All that the last one printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> Path:
        return self.folder / "log"


def environment(**more: str) -> dict[str, str]:
    """That of a stage, which leads to no store but that of its folder, or that of `more`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC"))}
    return {
        **kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src"),
        "MELTPOINT_TRACKING": "off", "MLFLOW_DISABLE_TELEMETRY": "true", "NO_ALBUMENTATIONS_UPDATE": "1",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def warm_python() -> Iterator[Path]:
    """The folder with `python`, `dvc` and `meltpoint` of the nursery, which are what the tests of a file start."""
    folder = nursery()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        patch.setattr(sys, "executable", str(folder / "python"))
        yield folder
