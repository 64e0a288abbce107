"""Operating points, chosen on val: where the second of two classes begins, and which answers are too unsure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meltpoint.params.model import Threshold

SLACK = 1e-4  # of a probability: more than it moves by rounding, when the same image is seen in another batch

Numbers = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Point:
    """A probability from which on something holds, and the share it gives on the images it was chosen on.

    `value` is None where none can be chosen, and `reached` then the best share there is.
    """

    value: float | None
    reached: float


def choose_threshold(probabilities: Numbers, is_second: Flags, wish: Threshold) -> Point:
    """The probability from which on the answer is the second class, for probabilities of it (N,) and the truth (N,).

    For a recall it is the highest that reaches the wish: fewest false alarms. For a precision it is the lowest: fewest
    misses. Images of equal probability pass together. Where nothing reaches the wish it is what comes nearest to it,
    of equals the lowest; without any image of the second class there is no choice.
    """
    if not is_second.any():
        return Point(None, 0.0)
    values, hits, counts = _trace(probabilities, is_second)
    shares = hits / (counts if wish.metric == "precision" else is_second.sum())
    reaching = np.flatnonzero(shares >= wish.at_least)
    if not len(reaching):
        index = len(shares) - 1 - int(shares[::-1].argmax())
    else:
        index = int(reaching[-1] if wish.metric == "precision" else reaching[0])
    return Point(_between(values, index), float(shares[index]))


def choose_unknown(confidences: Numbers, is_right: Flags, share: float) -> Point:
    """The smallest confidence such that of the answers (N,) at or above it at least `share` are right."""
    if not len(confidences):
        return Point(None, 0.0)
    values, hits, counts = _trace(confidences, is_right)
    shares = hits / counts
    reaching = np.flatnonzero(shares >= share)
    if not len(reaching):
        return Point(None, float(shares.max()))
    index = int(reaching[-1])
    return Point(_between(values, index), float(shares[index]))


def _trace(values: Numbers, flags: Flags) -> tuple[Numbers, NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values, falling, and how many rows are at or above each: those flagged, and all."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # the last row of each group of equals
    return ordered[last], np.cumsum(flags[order], dtype=np.int64)[last], last + 1


def _between(values: Numbers, index: int) -> float:
    """The middle of the value at `index` of falling ones and the next; a little under it where there is no next.

    The image of that value passes, and what is seen later is not judged by how sure the model was of this one.
    """
    value = values[index]
    below = values[index + 1] if index + 1 < len(values) else value - 2 * values.dtype.type(SLACK)
    point = (value + below) / 2
    return float(point if point > below else value)
