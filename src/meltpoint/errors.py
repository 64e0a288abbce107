"""An error that the user can fix is printed as a message, without a traceback; a bug keeps its traceback."""

import errno
import signal
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from meltpoint.terminal import complain, visible_output

# Errors of the disk, and how to fix them: no bug of the program.
FIXES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room, or raise the limit"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Grant permission, or choose another folder"),
}
SQLITE_FIXES = {  # by the primary code of an error, https://sqlite.org/rescode.html
    sqlite3.SQLITE_FULL: FIXES[errno.ENOSPC],
    sqlite3.SQLITE_IOERR: FIXES[errno.ENOSPC],
    sqlite3.SQLITE_READONLY: FIXES[errno.EACCES],
    sqlite3.SQLITE_CANTOPEN: FIXES[errno.EACCES],
}
AGAIN = "the same command continues from there"  # after a stop, where nothing else is said
OUTPUTS = [(folder,) for folder in ("data", "models", "repeats", "exports", "reports")]  # of the stages


class UserError(Exception):
    """Base of every error that is shown to the user; the concrete ones are beside the code that raises them.

    A message has four parts: what is wrong, what was given, what is allowed, how to fix it.
    """


class CommandError(UserError, RuntimeError):
    """A command cannot do in this folder what it is asked to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM to a command that has something to stop before it ends."""


@contextmanager
def told_to_end() -> Iterator[None]:
    """In the context, in the main thread, SIGTERM raises `Terminated`, once: what ends then is not disturbed."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def again(how: str) -> Iterator[None]:
    """Who stops what is in the context, by Ctrl-C or a full disk, is told `how` it goes on in place of AGAIN."""
    try:
        yield
    except (KeyboardInterrupt, Exception) as stop:
        vars(stop).setdefault("again", how)
        raise


def guarded(main: Callable[[], None]) -> None:
    """Run `main`; a UserError becomes a message on stderr and exit code 1, Ctrl-C a line and 130, as in shells.

    So does a disk that is full or may not be written, wherever that happens. `Terminated` is 143.
    """
    with visible_output():
        try:
            main()
        except KeyboardInterrupt as stop:
            complain(f"\nmeltpoint: stopped. What is complete is kept; {vars(stop).get('again', AGAIN)}.")
            raise SystemExit(128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)) from None
        except Exception as error:
            message = str(error) if isinstance(error, UserError) else about_disk(error) or about_output(error)
            if message is None:
                raise
            complain(f"\nmeltpoint: {message}")
            raise SystemExit(1) from None


def about_output(error: Exception) -> str | None:
    """The message if a file that an earlier stage writes is not there; None for a bug."""
    match error:
        case FileNotFoundError(filename=str() | Path() as name) if Path(name).parts[:1] in OUTPUTS:
            return f"There is no {name}, which an earlier stage writes. All that it needs is made by: dvc repro"
    return None


def asked_row(words: Sequence[str], rows: Collection[str] | None = None) -> str:
    """The row of params.yaml that the command line of a stage names, one of `rows`.

    Raises:
        CommandError: it names none, or one that is not there.
    """
    given, there = words[1:], f" There are {', '.join(rows)}." if rows is not None else ""
    if len(given) != 1 or (rows is not None and given[0] not in rows):
        raise CommandError(
            f"{words[0]} takes the name of one row of params.yaml, and got {' '.join(given) or 'nothing'}.{there} DVC "
            f"gives it the right ones: dvc repro {Path(words[0]).stem}"
        )
    return given[0]


def about_disk(error: Exception) -> str | None:
    """The message if an error, or what caused it, is that of a disk; None for a bug."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case OSError(errno=int(number)) if number in FIXES:
                name, reason, fix = cause.filename or "A file", cause.strerror, FIXES[number]
            case sqlite3.Error() if (code := getattr(cause, "sqlite_errorcode", 0) & 0xFF) in SQLITE_FIXES:
                name, reason, fix = "MLflow's database", str(cause), SQLITE_FIXES[code]
            case _:
                cause = cause.__cause__
                continue
        return (
            f"{name} cannot be read or written: {reason}. No file is half written. {fix};"
            f" {vars(error).get('again', AGAIN)}."
        )
    return None
