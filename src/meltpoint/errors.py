"""Trouble the user can mend is printed as a message, without a traceback; a bug keeps its traceback."""

import errno
import sqlite3
import sys
from collections.abc import Callable, Iterator

from meltpoint.progress import plain_lines

# What a disk may refuse, and how to mend it: no slip of the program.
MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room, or raise the limit"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Grant permission, or choose another folder"),
}
SQLITE_MENDS = {  # by the primary code of an error, https://sqlite.org/rescode.html
    sqlite3.SQLITE_FULL: MENDS[errno.ENOSPC],
    sqlite3.SQLITE_IOERR: MENDS[errno.ENOSPC],
    sqlite3.SQLITE_READONLY: MENDS[errno.EACCES],
    sqlite3.SQLITE_CANTOPEN: MENDS[errno.EACCES],
}


class UserError(Exception):
    """Base of every error that is told to the user; concrete ones stand beside the code that raises them.

    A message has four parts: what is wrong, what came, what is allowed, how to mend it.
    """


def guarded(main: Callable[[], None]) -> None:
    """Run `main`; a UserError becomes a message on stderr and exit code 1, Ctrl-C a line and 130, as shells have it.

    So does a disk that is full or may not be written, wherever that is met.
    """
    try:
        main()
    except UserError as error:
        print(f"\nmeltpoint: {plain_lines(str(error))}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\nmeltpoint: stopped. What is whole is kept; the same command goes on from there.", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        told = _about_disk(error)
        if told is None:
            raise
        print(f"\nmeltpoint: {plain_lines(told)}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


def _about_disk(error: Exception) -> str | None:
    """The message if an error, or what caused it, is that of a disk; None for a bug."""
    for cause in _causes(error):
        match cause:
            case OSError(errno=int(number)) if number in MENDS:
                name, reason, mend = cause.filename or "A file", cause.strerror, MENDS[number]
            case sqlite3.Error() if (code := getattr(cause, "sqlite_errorcode", 0) & 0xFF) in SQLITE_MENDS:
                name, reason, mend = "MLflow's database", str(cause), SQLITE_MENDS[code]
            case _:
                continue
        return (
            f"{name} cannot be read or written: {reason}. Nothing is left half written under its own name. {mend}, and "
            "run the same command: it goes on from there."
        )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
