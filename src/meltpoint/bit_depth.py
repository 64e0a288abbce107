"""Which values of more than 8 bits are black and white: one scale for a dataset, so that equal values stay equal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from statistics import median_high
from typing import Literal, NamedTuple

Kind = Literal["integer", "float"]
Scale = tuple[float, float]  # the values that become black and white
Depths = dict[Kind, Scale]  # {}: no picture has more than 8 bits

WHITES: dict[Kind, Sequence[float]] = {
    "integer": [2**bits - 1 for bits in (8, 10, 12, 14, 16)],  # what cameras and scanners write into 16 bits
    "float": [1.0, *(2**bits - 1 for bits in (8, 10, 12, 14, 16))],
}
DARK = 8  # times as much as most pictures reach: white is then most likely one stray pixel's


class Range(NamedTuple):
    """The least and the largest value of a picture of more than 8 bits: whole numbers, or fractions."""

    kind: Kind
    low: float
    high: float


@dataclass(frozen=True)
class Inspected:
    """A picture that was decoded whole.

    Attributes: `width` and `height` in pixels, upright; `turned`: whether its EXIF says that it is not stored upright;
    `range` of its values, where they have more than 8 bits.
    """

    width: int
    height: int
    turned: bool
    range: Range | None


def choose_depths(ranges: Iterable[Range]) -> Depths:
    """The scale of all pictures of each kind: 0 to the first usual white that holds their largest value.

    With values below zero, as of computed tomography, and with larger ones than 16 bits hold, it is from the least
    (zero at most) to the largest value.
    """
    found: Depths = {}
    for kind, several in _by_kind(ranges):
        low, high = min(one.low for one in several), max(one.high for one in several)
        whites = WHITES[kind] if low >= 0 else []
        found[kind] = (min(low, 0.0), float(next((white for white in whites if high <= white), high)))
    return found


def describe_depths(ranges: Iterable[Range], depths: Depths) -> dict[str, dict[str, float]]:
    """What a report says: of each kind its pictures, their least and largest value, and what is black and white."""
    return {
        kind: {
            "images": len(several),
            "lowest": min(one.low for one in several),
            "highest": max(one.high for one in several),
            "black": depths[kind][0],
            "white": depths[kind][1],
        }
        for kind, several in _by_kind(ranges)
    }


def note_depths(ranges: Iterable[Range], depths: Depths) -> list[str]:
    """What a person should know of it, in sentences."""
    notes = []
    for kind, several in _by_kind(ranges):
        black, white = depths[kind]
        name = "whole numbers" if kind == "integer" else "fractions"
        notes.append(
            f"{len(several):,} images hold {name} of more than 8 bits, from {min(one.low for one in several):g} to "
            f"{max(one.high for one in several):g}: {black:g} is black and {white:g} white in all of them"
        )
        middle = median_high(one.high for one in several)
        if (white - black) > DARK * max(middle - black, 1e-12):
            notes.append(
                f"half of these images reach no more than {middle:g}, and will be dark beside white at {white:g}: look"
                " for stray pixels in the brightest ones, or for two sorts of images"
            )
    return notes


def _by_kind(ranges: Iterable[Range]) -> list[tuple[Kind, list[Range]]]:
    return [(kind, list(several)) for kind, several in groupby(sorted(ranges), attrgetter("kind"))]
