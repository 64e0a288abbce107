"""Proposes all pairs of pictures with similar hashes in any turn: exact, and quadratic.

Bits of a hash stand in four words, by whether their rows and columns are even or odd (`part_bits`). To mirror a picture
or to turn it by 180 degrees negates some of these words whole, so the bits in which two words differ, p, are 64 - p
after that, and one comparison of two hashes serves four turns; one with the second hash transposed serves the others.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from meltpoint.data.perceptual_hash import Hashes, part_bits
from meltpoint.duplicate import TURNS

Rows = NDArray[np.int64]
Pairs = tuple[int, Rows, Rows, Rows]  # turn, row, later row, bits: (M,) each

ROWS, COLUMNS = 32, 4096  # hashes compared at once: their words and counts stay in the processor's cache
WORD = 64


def compare_all(words: Hashes) -> tuple[Hashes, list[int]]:
    """What `close_pairs` needs of hashes (8, 4, N): words by rows and columns, (2, 4, N), and the starts of blocks."""
    parts = np.stack([part_bits(words[0]), part_bits(words[1])])  # as they are, and transposed
    return parts, list(range(0, words.shape[2], ROWS))


def close_pairs(words: Hashes, parts: Hashes, start: int, limit: int) -> Iterator[Pairs]:
    """Pairs of a row of the block from `start` on and a later row, at most `limit` bits apart, of each turn."""
    rows, count = slice(start, start + ROWS), words.shape[2]
    for kind in range(2):
        still = parts[0][:, rows]
        for left in range(start, count, COLUMNS):
            moved = parts[kind][:, left : left + COLUMNS]
            least = np.bitwise_count(still[0][:, None] ^ moved[0])
            for one, other in zip(still[1:], moved[1:], strict=True):
                bits = np.bitwise_count(one[:, None] ^ other)
                least += np.minimum(bits, WORD - bits)
            first, second = np.divmod(np.flatnonzero(least <= limit), moved.shape[1])
            first, second = first + start, second + left
            later = second > first
            yield from _of_turns(words, kind, first[later], second[later], limit)


def _of_turns(words: Hashes, kind: int, first: Rows, second: Rows, limit: int) -> Iterator[Pairs]:
    for turn in range(kind, len(TURNS), 2):
        bits = np.bitwise_count(words[0][:, first] ^ words[turn][:, second]).sum(axis=0, dtype=np.int64)
        close = np.flatnonzero(bits <= limit)
        if len(close):
            yield turn, first[close], second[close], bits[close]
