"""One row of figures for each comparison: both sides measured in turn in one run, medians told."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Timed:
    """Seconds, and what came of them."""

    seconds: float
    result: Any


@dataclass(frozen=True)
class Row:
    """`ours` beside `theirs`, where more is better; `rival` says what theirs is, None that there is no rival."""

    what: str
    ours: float
    theirs: float | None
    rival: str
    note: str

    def __str__(self) -> str:
        beside = f", {self.rival} {self.theirs:,.2f}: {self.ours / self.theirs:.1f} times" if self.theirs else ""
        return f"{self.what}: {self.ours:,.2f}{beside}\n    {self.note}"


def side_by_side(ours: Callable[[], Timed], theirs: Callable[[], Timed], rounds: int) -> tuple[Timed, Timed]:
    """Run both in turn, once to warm up and then `rounds` times; the median seconds and the last result of each."""
    pairs = [(ours(), theirs()) for _ in range(rounds + 1)][1:]
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    first, second = (Timed(median(run.seconds for run in side), side[-1].result) for side in sides)
    return first, second


def print_tables(about: str | None, tables: Mapping[str, Callable[[int], Iterator[str]]], draws: int) -> None:
    """The tables that the command line names, or all, line by line, each under what its function says of it."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", choices=[*tables, []], help="default: all")
    parser.add_argument("--draws", type=int, default=draws, help=f"of each row (default: {draws})")
    asked = parser.parse_args()
    for name in asked.tables or tables:
        print(f"\n{tables[name].__doc__}\n")
        for line in tables[name](asked.draws):
            print(line, flush=True)
