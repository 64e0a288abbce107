"""Trouble the user can mend is printed as a message, without a traceback; a bug keeps its traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Base of every error that is told to the user; concrete ones stand beside the code that raises them.

    A message has four parts: what is wrong, what came, what is allowed, how to mend it.
    """


def guarded(main: Callable[[], None]) -> None:
    """Run `main`; a UserError becomes a message on stderr and exit code 1, Ctrl-C a line and 130, as shells have it."""
    try:
        main()
    except UserError as error:
        print(f"\nmeltpoint: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\nmeltpoint: stopped. What is whole is kept; the same command goes on from there.", file=sys.stderr)
        raise SystemExit(130) from None
