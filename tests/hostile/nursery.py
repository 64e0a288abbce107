"""Runs stages in forked children of a process that has imported everything, so that a kill costs no imports.

Started as a script in the repository's folder. Each line of the input is JSON: `words` (a stage and its arguments),
`log` (where its output goes), `limit` (the largest file it may write, in bytes, or null), `powerless` (whether what
root may do more than others is taken from it) and `kill` (see `die_at`, or null). It answers with the child's id, then
with its exit code.
"""

import ctypes
import importlib
import json
import os
import re
import resource
import runpy
import signal
import struct
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

LAZY = ["albumentations", "meltpoint.images.augment", "matplotlib.figure", "pyarrow.parquet", "mlflow.pyfunc"]


def warm(stages: Path) -> None:
    """Import all that the stages import, and what they import late."""
    texts = [path.read_text(encoding="utf-8") for path in stages.glob("*.py")]
    ours = {name for text in texts for name in re.findall(r"^from (meltpoint\S*) import", text, re.MULTILINE)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in [*sorted(ours), *LAZY, "meltpoint.tasks.classification.report"]:
            importlib.import_module(name)


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


def run(asked: dict[str, Any], stages: Path, output: int) -> None:
    """The child: never returns."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    if asked["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], asked["limit"]))
    if asked["powerless"]:
        drop_powers()
    if asked["kill"]:
        die_at(*asked["kill"])
    stage, *words = asked["words"]
    sys.argv = [f"{stage}.py", *words]
    code = 0
    try:
        runpy.run_path(str(stages / f"{stage}.py"))
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - a bug: what the interpreter would do
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(stages: Path) -> None:
    """Answer until the input ends."""
    warm(stages)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        ours, theirs = os.pipe()  # a limit on files would hold for a log, too
        child = os.fork()
        if child == 0:
            run(asked, stages, theirs)
        os.close(theirs)
        print(child, flush=True)
        with open(ours, "rb") as output, open(asked["log"], "wb") as log:  # noqa: PTH123 - a number
            log.write(output.read())
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
