"""Finds pictures that are in a dataset twice: equal pixels, or equal detail at another exposure, size or rotation.

A perceptual hash of the detail proposes pairs, the pixels of the detail decide. Each picture is decoded once and kept
as 3 kB. Hashes are compared all with all, which is quadratic but cheap: on two cores 2,600 pictures take a second or
two and 20,000 half a minute, besides decoding; 100,000 (40 billion comparisons in eight turns) about ten minutes. For
more there are `tables` (`data/hash_tables.py`), whose cost grows like n log n, and which may miss a pair: both are
measured in docs/splitting.md.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from meltpoint.arrays import Pixels
from meltpoint.data.hash_tables import propose
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
Found = tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]  # turn, agreement last

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
    near = find_near(details[compared], sample, settings) if len(compared) > 1 else []
    named = [replace(pair, first=int(compared[pair.first]), second=int(compared[pair.second])) for pair in near]
    return sorted(exact + named, key=lambda pair: (pair.first, pair.second))


def find_near(details: Detail, sample: NDArray[np.int64], settings: Duplicates) -> list[Duplicate]:
    """Pairs of rows of `details` (N, SIDE, SIDE), which are changed, that are near-duplicates; the best turn of each.

    `sample`: rows of which the common pattern is learned.
    """
    remove_common(details, sample, settings.common)
    words = np.ascontiguousarray(hash_details(details).transpose(0, 2, 1))  # (8, 4, N)
    find = _of_all if settings.tables is None else _of_tables
    best: dict[tuple[int, int], tuple[float, int, int]] = {}
    for turn, first, second, distance, agree in find(details, words, settings):
        for one, two, bits, correlation in zip(*map(np.ndarray.tolist, (first, second, distance, agree)), strict=True):
            found = correlation, -turn, bits
            best[one, two] = max(best.get((one, two), (-1.0, 0, 0)), found)
    return [
        Duplicate(one, two, exact=False, turn=TURNS[-turn], correlation=agree, distance=bits)
        for (one, two), (agree, turn, bits) in best.items()
    ]


def _of_all(details: Detail, words: Hashes, settings: Duplicates) -> Iterator[Found]:
    """All pairs that there are."""
    blocks = [(turn, start) for turn in range(len(TURNS)) for start in range(0, len(details), ROWS)]

    def compare(block: tuple[int, int]) -> Candidates:
        turn, start = block
        return close_pairs(words[0, :, start : start + ROWS], words[turn], start, settings.hash_distance)

    workers = os.cpu_count() or 1
    close = track(map_ahead(compare, blocks, 8 * workers, workers), "compare hashes", len(blocks), unit="block")
    for (turn, _), candidates in zip(blocks, close, strict=True):
        yield from _agreeing(details, turn, candidates, settings.correlation)


def _of_tables(details: Detail, words: Hashes, settings: Duplicates) -> Iterator[Found]:
    """Pairs that meet in a table, but for those that others have joined already: enough to know what is together."""
    assert settings.tables is not None
    count = len(details)
    joined: NDArray[np.int64] = np.empty((2, 0), dtype=np.int64)
    groups, seen = np.arange(count), np.empty(0, dtype=np.int64)
    proposed = propose(words, settings.hash_distance, settings.tables)
    for turn, first, second, distance in track(proposed, "compare hashes", settings.tables * len(TURNS), unit="table"):
        codes, places = np.unique((first * count + second) * len(TURNS) + turn, return_index=True)
        new = (groups[first[places]] != groups[second[places]]) & ~np.isin(codes, seen, assume_unique=True)
        seen, places = np.union1d(seen, codes[new]), places[new]
        candidates = first[places], second[places], distance[places]
        found = list(_agreeing(details, turn, candidates, settings.correlation))
        yield from found
        if any(len(one) for _, one, *_ in found):
            joined = np.concatenate([joined, *(np.stack([one, two]) for _, one, two, *_ in found)], axis=1)
            graph = coo_matrix((np.ones(joined.shape[1], dtype=np.int8), tuple(joined)), shape=(count, count))
            groups = np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _agreeing(details: Detail, turn: int, candidates: Candidates, least: float) -> Iterator[Found]:
    """Those of the candidates whose pixels agree, and how well."""
    first, second, distance = candidates
    for start in range(0, len(first), CHECKED):
        part = slice(start, start + CHECKED)
        agree = agreement(details[first[part]], turned(details[second[part]], turn)).round(4)
        kept = np.flatnonzero(agree >= least)
        yield turn, first[part][kept], second[part][kept], distance[part][kept], agree[kept]


def close_pairs(rows: Hashes, columns: Hashes, start: int, limit: int) -> Candidates:
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
