"""Which process writes to a run, so that a run whose process is gone can be told from one that goes on."""

import os
import socket

import psutil

PROCESS = "meltpoint.process"  # tag
SLACK = 2.0  # seconds by which two readings of a process's start may differ


def own_process() -> str:
    """The tag of this process: machine, number, start in seconds since 1970. A number alone is given out again."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def is_alive(tag: str | None) -> bool | None:
    """Whether the process of a tag runs; None if that cannot be seen from this machine. Without a tag nobody does."""
    if tag is None:
        return False
    host, number, start = tag.rsplit(" ", 2)
    if host != socket.gethostname():
        return None
    try:
        return abs(psutil.Process(int(number)).create_time() - float(start)) <= SLACK
    except psutil.NoSuchProcess:
        return False
