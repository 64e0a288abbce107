"""The one place through which text reaches a terminal: what would steer the terminal is shown as its escape.

It imports nothing of this package, as the script that serves a model runs it by itself.
"""

import json
import sys
import traceback
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO, cast

UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # categories of Unicode: controls, marks of direction, halves, ends of lines
JOINERS = "\u200c\u200d\u00ad"  # of the category Cf; letters of some scripts and emoji are joined by them
TAGS = range(0xE0020, 0xE0080)  # of the category Cf; flags of regions are emoji made of them

WARNINGS: ContextVar[list[str] | None] = ContextVar("WARNINGS", default=None)  # where they go instead


def _is_seen(letter: str) -> bool:
    return unicodedata.category(letter) not in UNSEEN or letter in JOINERS or ord(letter) in TAGS


def plain(text: str) -> str:
    """Text from outside as one harmless line: control characters and marks of direction are escaped."""
    if text.isprintable():
        return text
    return "".join(letter if _is_seen(letter) else letter.encode("unicode_escape").decode("ascii") for letter in text)


def plain_lines(text: str) -> str:
    """The same for a text of ours that quotes one from outside: its line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(letter if letter in "\n\t" else plain(letter) for letter in text)


def plain_json(text: str) -> str:
    """The same for a line of JSON, by escapes of JSON, so that whoever reads it gets the text as it was."""
    return "".join(letter if _is_seen(letter) else json.dumps(letter)[1:-1] for letter in text)


class Visible:
    """A text stream on which nothing steers the terminal, whoever writes to it: this package, a library, a traceback.

    It says that it is no terminal, so that no library colours what it writes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text with its control characters escaped."""
        self.stream.write(plain_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Not for libraries; `is_terminal` knows."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def visible_output() -> Iterator[None]:
    """While the context lasts, whatever is printed is harmless; an exception that leaves it is printed, and ends it.

    Raises:
        SystemExit: with 1, after an exception.
    """
    streams = cast("TextIO", Visible(sys.stdout)), cast("TextIO", Visible(sys.stderr))
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        try:
            yield
        except Exception:  # noqa: BLE001 - it is printed in full, and ends the program
            complain(traceback.format_exc().rstrip("\n"))
            raise SystemExit(1) from None


def say(text: str) -> None:
    """Print a line on standard output at once."""
    print(plain_lines(text), flush=True)


def complain(text: str) -> None:
    """Print a line on standard error at once."""
    print(plain_lines(text), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning on standard error, or give it to whoever has asked by `heard`."""
    warnings = WARNINGS.get()
    if warnings is None:
        complain(f"warning: {text}")
    else:
        warnings.append(text)


@contextmanager
def heard() -> Iterator[list[str]]:
    """The warnings of this thread while the context lasts, which are not printed."""
    warnings: list[str] = []
    before = WARNINGS.set(warnings)
    try:
        yield warnings
    finally:
        WARNINGS.reset(before)


def original(stream: TextIO) -> TextIO:
    """The stream itself, without `Visible`: for what escapes its own text."""
    while isinstance(stream, Visible):
        stream = stream.stream
    return stream


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads the stream as it is written."""
    return original(stream).isatty()


@contextmanager
def answers_alone() -> Iterator[None]:
    """What libraries print to standard output goes to standard error instead."""
    with redirect_stdout(sys.stderr):
        yield


def answers_stream(for_program: bool) -> TextIO:
    """Standard output in UTF-8, for the answers of a model; what a program reads is as it is, except on a terminal."""
    stream = original(sys.stdout)
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:  # file names may be no UTF-8, and names in any script
        reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream if for_program and not stream.isatty() else cast("TextIO", Visible(stream))
