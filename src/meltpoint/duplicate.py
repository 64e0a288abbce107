"""Two pictures of the same thing: what the search for them finds, and about how long it takes."""

import math
import os
from dataclasses import dataclass

# What has to be done to the second picture to match the first: quarter turns to the left, then mirrored or not.
TURNS = (
    "as it is",
    "turned by 90°",
    "turned by 180°",
    "turned by 270°",
    "mirrored",
    "turned by 90° and mirrored",
    "turned by 180° and mirrored",
    "turned by 270° and mirrored",
)

PAIR = 7.5e-9  # seconds of a core to compare two hashes in all turns; and to look one up in a table of a million
LOOKED_UP = 2.5e-6
LONG = 1800  # seconds from which on it is worth a word
USUAL_TABLES = 64  # what a message proposes


def compare_seconds(count: int, tables: int | None) -> float:
    """About how long the cores of this machine compare the hashes of so many pictures: all with all, or in tables."""
    return PAIR * count**2 / 2 / (os.cpu_count() or 1) if tables is None else LOOKED_UP * tables * count


def key_bits(count: int) -> int:
    """How many of the 256 bits of a hash are its key in a table of so many: then a key has about one hash."""
    return max(1, int(math.log2(max(2, count))))


def chance_to_meet(count: int, tables: int, distance: int) -> float:
    """That two hashes which differ in `distance` of 256 bits have a key in common, when each is drawn anew."""
    drawn = key_bits(count)
    return 1 - (1 - math.comb(256 - distance, drawn) / math.comb(256, drawn)) ** tables


def about_comparing(count: int, tables: int | None) -> str | None:
    """What to say of a comparison: that it may miss pairs, or takes long, all with all; None where neither is so."""
    if tables is not None:
        near, far = (f"{chance_to_meet(count, tables, bits):.0%}" for bits in (32, 64))
        return (
            f"the hashes of {count:,} pictures meet in {tables} tables. Not all with all are compared, and pairs may be"
            f" missed: at most about {near} of those 32 bits of 256 apart are found, and {far} of those 64 bits apart"
            " (docs/splitting.md)."
        )
    seconds = compare_seconds(count, tables)
    if seconds < LONG:
        return None
    return (
        f"to compare {count:,} pictures all with all takes about {seconds / 3600:,.1f} hours here, and four times as"
        f" long for twice as many. With split.duplicates.tables: {USUAL_TABLES} it takes about"
        f" {compare_seconds(count, USUAL_TABLES) / 3600:,.1f}, and pairs may be missed: docs/splitting.md says which."
    )


@dataclass(frozen=True)
class Duplicate:
    """Two pictures of the same thing; `first` < `second` are positions in the list of files.

    `turn` is what has to be done to the second to match the first; `correlation` is of the fine detail (1 if `exact`),
    `distance` in bits of 256.
    """

    first: int
    second: int
    exact: bool
    turn: str
    correlation: float
    distance: int

    @property
    def quarters(self) -> int:
        """Quarter turns to the left that `turn` begins with."""
        return TURNS.index(self.turn) % 4

    @property
    def mirrored(self) -> bool:
        """Whether `turn` ends with mirroring left and right."""
        return TURNS.index(self.turn) >= 4
