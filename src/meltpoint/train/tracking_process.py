"""Live curves in MLflow: another process follows the history, so that tracking can neither slow nor stop a training."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from meltpoint.terminal import say

FOLLOWER = "meltpoint.tracking.live_logging"
SWITCH = "MELTPOINT_TRACKING"  # environment variable; `off` starts no follower
LOG = "follow.log"
PATIENCE = 20.0  # seconds that the follower has to write the last curves
DONE = b"done\n"


@contextmanager
def follow(folder: Path) -> Iterator[None]:
    """While the context lasts, a subprocess shows `folder`/history.jsonl in MLflow. Its failure is a warning.

    The subprocess holds the other end of a pipe: `done` in it means that the training is complete, its end without that
    word that the training died.
    """
    if os.environ.get(SWITCH) == "off":
        yield
        return
    try:
        with (folder / LOG).open("wb") as log:
            # A session of its own: Ctrl-C and a killed process group end the training, and the follower still says so.
            process = subprocess.Popen(
                [sys.executable, "-m", FOLLOWER, str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        _warn(str(error))
        yield
        return
    finishing = threading.Event()
    watch = threading.Thread(target=_watch, args=(process, finishing, folder), daemon=True)
    watch.start()
    try:
        yield
        finishing.set()
        _tell(process, DONE)
    finally:
        finishing.set()
        _tell(process, None)
        watch.join(PATIENCE)
        if watch.is_alive():
            say(f"The last curves were not in MLflow after {PATIENCE:.0f} s; continuing without them.")
            process.kill()
            watch.join()


def _watch(process: "subprocess.Popen[bytes]", finishing: threading.Event, folder: Path) -> None:
    """Warn once: what the follower complains of, or that it died, or that it ended before training did."""
    reason = ""
    while process.poll() is None and not reason:
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        reason = _last_line(folder)
    reason = reason or _last_line(folder)  # it may have died before the first look
    if reason:
        _warn(reason)
    code = process.wait()
    if not reason and (code > 0 or not finishing.is_set()):
        _warn(f"exit code {code}")


def _last_line(folder: Path) -> str:
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _warn(reason: str) -> None:
    say(f"warning: no live curves in MLflow ({reason}). The training goes on, and its curves are kept.")


def _tell(process: "subprocess.Popen[bytes]", word: bytes | None) -> None:
    """Write a word into the follower's pipe; None closes it. That a follower has died was reported already."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        if word is None:
            process.stdin.close()
        else:
            process.stdin.write(word)
            process.stdin.flush()
