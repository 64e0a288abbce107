"""Work that is cut into numbered parts, so that an engine can do it: in this process, or on many machines.

An engine is a file of `predict/engines`. It reads pieces of parts, lets a model work on what it read, and gives each
part back once all of it is done. Who asked writes it down: no other process needs a way to where the result goes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from meltpoint.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    Made = Callable[["pa.Table"], "pa.Table"]


class EngineError(UserError, RuntimeError):
    """An engine cannot be had."""


class LostError(EngineError):
    """An engine has stopped before all was done."""


class Work(Protocol):
    """What is to be done. It is sent to other processes: a frozen dataclass of plain values, of this package."""

    @property
    def folder(self) -> Path | None:
        """The files that a model is opened from. An engine brings them to where it works; None: nothing is needed."""
        ...

    def read(self, piece: str) -> "Iterator[pa.Table]":
        """The units of a piece, in order: what is worked on together, a few megabytes. The same ones at each call.

        A piece is a text that says what to read: it alone goes to the process that does. It has one unit at least,
        which may have no rows.
        """
        ...

    def open(self, folder: Path | None) -> "Made":
        """Open the model from a copy of the files in `folder`, once in each process: a unit to its results."""
        ...


@dataclass(frozen=True)
class Where:
    """Where an engine works: the address of a running cluster (None: here), with how many models (None: all it can)."""

    address: str | None = None
    workers: int | None = None


class Engine(Protocol):
    """A file of `predict/engines`."""

    def run(
        self, work: Work, pieces: Mapping[int, Sequence[str]], where: Where, tell: Callable[[int], object]
    ) -> "Iterator[tuple[int, pa.Table]]":
        """Do the parts that are the keys of `pieces`, each of the pieces that its value lists, one at least.

        Each part comes once, when it is done, its rows in the order of its pieces and units, in whatever order parts
        are done. `tell` is called with the number of rows each time some are done, so that a bar can move.

        Raises:
            EngineError: the engine cannot be had.
            LostError: its cluster is lost.
            UserError: what `work` itself raises.
        """
        ...


def _load(kind: str) -> Any:
    return import_module(f"meltpoint.predict.engines.{kind}")


load_engine: Callable[[str], Engine] = partial(_load)
