"""Finds pictures that are in a dataset twice: equal pixels, or equal detail at another exposure, size or rotation.

A perceptual hash of the detail proposes pairs, the pixels of the detail decide. Each picture is decoded once and kept
as 3 kB. Hashes are compared all with all, which is quadratic but cheap: on two cores 2,600 pictures take a second or
two and 20,000 half a minute, besides decoding; 100,000 (40 billion comparisons in eight turns) about ten minutes.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Pixels
from meltpoint.data.perceptual_hash import (
    SIDE,
    Detail,
    Hashes,
    agreement,
    detail_of,
    hash_details,
    remove_common,
    turned,
)
from meltpoint.duplicate import TURNS, Duplicate
from meltpoint.params.data import Duplicates
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track

Candidates = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # first, second, distance: (M,) each

AHEAD = 256  # details that may wait in memory while other pictures are decoded
ROWS, COLUMNS = 128, 8192  # hashes compared at once; a block of counts stays in the processor's cache
CHECKED = 1024  # candidate pairs whose pixels are in memory at once


def find_duplicates(files: list[str], read: Callable[[str], Pixels], settings: Duplicates) -> list[Duplicate]:
    """Pairs of duplicates among `files`, sorted; `read` gives a picture as uint8 (H, W), in several threads.

    Of pictures with equal pixels each is paired with the first of them, and only that one is compared with others. A
    picture without any detail has no near-duplicates.
    """
    digests: list[bytes] = []
    details = np.zeros((len(files), SIDE, SIDE), dtype=np.int8)

    def look(path: str) -> tuple[bytes, Detail]:
        grey = np.ascontiguousarray(read(path))
        return hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest(), detail_of(grey)

    looks = map_ahead(look, files, AHEAD, None)
    for row, (digest, detail) in enumerate(track(looks, "look for duplicates", len(files))):
        digests.append(digest)
        details[row] = detail
    first_of: dict[bytes, int] = {}
    for row, digest in enumerate(digests):
        first_of.setdefault(digest, row)
    exact = [
        Duplicate(first_of[digest], row, exact=True, turn=TURNS[0], correlation=1.0, distance=0)
        for row, digest in enumerate(digests)
        if first_of[digest] != row
    ]
    compared = np.array([row for row in first_of.values() if details[row].any()], dtype=np.int64)
    sample = np.argsort([digests[row] for row in compared], kind="stable")  # so that the order of files does not matter
    near = _find_near(details[compared], sample, settings) if len(compared) > 1 else []
    named = [replace(pair, first=int(compared[pair.first]), second=int(compared[pair.second])) for pair in near]
    return sorted(exact + named, key=lambda pair: (pair.first, pair.second))


def _find_near(details: Detail, sample: NDArray[np.int64], settings: Duplicates) -> list[Duplicate]:
    """Pairs of rows of `details` that are near-duplicates; of several turns the best one."""
    remove_common(details, sample, settings.common)
    words = np.ascontiguousarray(hash_details(details).transpose(0, 2, 1))  # (8, 4, N)
    blocks = [(turn, start) for turn in range(len(TURNS)) for start in range(0, len(details), ROWS)]

    def compare(block: tuple[int, int]) -> Candidates:
        turn, start = block
        return _close(words[0, :, start : start + ROWS], words[turn], start, settings.hash_distance)

    workers = os.cpu_count() or 1
    close = track(map_ahead(compare, blocks, 8 * workers, workers), "compare hashes", len(blocks), unit="block")
    best: dict[tuple[int, int], tuple[float, int, int]] = {}
    for (turn, _), (first, second, distance) in zip(blocks, close, strict=True):
        for start in range(0, len(first), CHECKED):
            part = slice(start, start + CHECKED)
            agree = agreement(details[first[part]], turned(details[second[part]], turn)).round(4)
            for row in np.flatnonzero(agree >= settings.correlation):
                pair = int(first[start + row]), int(second[start + row])
                found = float(agree[row]), -turn, int(distance[start + row])
                best[pair] = max(best.get(pair, (-1.0, 0, 0)), found)
    return [
        Duplicate(one, two, exact=False, turn=TURNS[-turn], correlation=agree, distance=bits)
        for (one, two), (agree, turn, bits) in best.items()
    ]


def _close(rows: Hashes, columns: Hashes, start: int, limit: int) -> Candidates:
    """Pairs (row, later column) of hashes (4, ROWS) and (4, N) at most `limit` bits apart; the first row is `start`."""
    found = []
    for left in range(start, columns.shape[1], COLUMNS):
        part = columns[:, left : left + COLUMNS]
        bits = np.bitwise_count(rows[0][:, None] ^ part[0])
        for row_word, column_word in zip(rows[1:], part[1:], strict=True):
            bits += np.bitwise_count(row_word[:, None] ^ column_word)  # 256, of a negative, wraps to 0: pixels decide
        row, column = np.nonzero(bits <= min(limit, 255))
        later = column + left > row + start
        found.append(
            np.stack([row[later] + start, column[later] + left, bits[row[later], column[later]]]).astype(np.int64)
        )
    first, second, distance = np.concatenate(found, axis=1)
    return first, second, distance
