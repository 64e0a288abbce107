"""A process that has imported everything, and runs programs in forked children, so that these cost no imports.

Started as `python nursery.py ADDRESS`; its socket lies at ADDRESS, and it ends with its standard input. A connection
asks for one child: a line of JSON with the child's three streams beside it. `words` is what follows `python` (a script,
`-m` and a module, or `-c` and code, and arguments), `folder` and `environment` are those of the child, `limit` is the
largest file it may write, in bytes, `powerless` takes from it what root may do more than others, and for `kill` see
`die_at`; these three may be absent. The answer is the child's id, and then its exit code, a line each.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import re
import resource
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import types
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LATE = [  # what is imported only where it is used
    "albumentations", "matplotlib.figure", "meltpoint.cli", "meltpoint.images.augment",
    "meltpoint.tasks.classification.report", "meltpoint.train.worker", "mlflow.pyfunc", "pyarrow.parquet",
    "configobj", "dvc.cli.parser", "dvc.lock", "dvc.repo.artifacts", "dvc.repo.datasets", "dvc.repo.graph",
    "dvc.repo.init", "dvc.repo.metrics", "dvc.repo.params", "dvc.repo.plots", "dvc.repo.trie", "dvc.rwlock",
    "dvc.utils.strictyaml", "networkx", "pygit2", "ruamel.yaml", "scmrepo.git",
]  # fmt: skip


def warm() -> None:
    """Import all that the stages import, and what they import late."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "stages").glob("*.py")]
    ours = {name for text in texts for name in re.findall(r"^from (meltpoint\S*) import", text, re.MULTILINE)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in [*sorted(ours), *LATE]:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children share these pages


def drop_powers() -> None:
    """Root may write everywhere; without capabilities (capset(2), all of them 0) it heeds the modes of folders."""
    ctypes.CDLL(None).capset(struct.pack("=Ii", 0x20080522, 0), bytes(24))


def die_at(mark: str, step: int) -> None:
    """Be killed before the change number `step` of the main thread, counted from the first request that holds `mark`.

    A change is a request to a server that is no question, a file put in its place, or a file removed.
    """
    counted, main = -1, threading.get_ident()

    def watch(event: str, words: tuple[Any, ...]) -> None:
        nonlocal counted
        if event not in ("http.client.send", "os.rename", "os.remove") or threading.get_ident() != main:
            return
        sent = words[1] if event == "http.client.send" else None
        if counted < 0:
            counted += sent is not None and mark.encode() in sent
        elif sent is None or (sent.startswith((b"POST", b"PATCH", b"PUT", b"DELETE")) and b"/search" not in sent[:200]):
            counted += 1
        if counted == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def execute(words: list[str]) -> None:
    """As `python WORDS` does."""
    kind, first = words[0], str(Path.cwd())
    if kind == "-m":
        sys.argv = words[1:]
    elif kind == "-c":
        sys.argv = ["-c", *words[2:]]
    else:
        sys.argv, first = words, str(Path(kind).parent)
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [first, *filter(None, added), *(place for place in sys.path[1:] if place not in added)]
    if kind == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.modules["__main__"] = main_module = types.ModuleType("__main__")
        exec(words[1], vars(main_module))
    else:
        runpy.run_path(kind, run_name="__main__")


def run(asked: dict[str, Any], streams: list[int]) -> None:
    """The child: never returns."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    if asked.get("limit") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], asked["limit"]))
    if asked.get("powerless"):
        drop_powers()
    if asked.get("kill"):
        die_at(*asked["kill"])
    code = 0
    try:
        execute(asked["words"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - a bug: what the interpreter would do
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    threading._shutdown()  # type: ignore[attr-defined] - an end without the seconds that it takes to tidy up
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a connection asks for, and the streams of the child."""
    text, streams, *_ = socket.recv_fds(connection, 1 << 20, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    return json.loads(text), streams


def main(address: str) -> None:
    """Answer until the input ends."""
    warm()
    ended, ending = socket.socketpair()  # a byte comes with the end of each child
    ending.setblocking(False)
    signal.set_wakeup_fd(ending.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    asking: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while sys.stdin not in (ready := select.select([server, ended, sys.stdin], [], [])[0]):
            if ended in ready:
                ended.recv(1 << 10)
                answer_ended(asking)
            if server in ready:
                connection, _ = server.accept()
                asked, streams = receive(connection)
                if (child := os.fork()) == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for own in (server, ended, ending, connection, *asking.values()):
                        own.close()
                    run(asked, streams)
                for stream in streams:
                    os.close(stream)
                connection.sendall(f"{child}\n".encode())
                asking[child] = connection


def answer_ended(asking: dict[int, socket.socket]) -> None:
    """Tell who asked for children that have ended how they did."""
    while asking:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        with asking.pop(child) as connection, suppress(BrokenPipeError):  # who asked has ended
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
