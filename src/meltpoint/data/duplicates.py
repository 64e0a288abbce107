"""Finds pictures that are in a dataset twice: equal pixels, or equal detail at another exposure, size or rotation.

A perceptual hash of the detail proposes pairs, the pixels of the detail decide. Each picture is decoded once and kept
as 3 kB in a file. Hashes are compared all with all (`data/hash_pairs.py`), which is quadratic: a core compares 100,000
in 38 seconds, a million in an hour, besides decoding. For more there are `tables` (`data/hash_tables.py`), whose cost
grows like n log n, and which may miss a pair: both are measured in docs/splitting.md.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from meltpoint.arrays import Ints, Pixels
from meltpoint.data.hash_pairs import Pairs, close_pairs, compare_all
from meltpoint.data.hash_tables import propose
from meltpoint.data.perceptual_hash import (
    CHUNK,
    FREQUENCIES,
    SAMPLE,
    SIDE,
    Detail,
    Hashes,
    agreement,
    detail_of,
    hash_details,
    learn_common,
    turned,
)
from meltpoint.duplicate import TURNS, Duplicate, about_comparing
from meltpoint.params.data import Duplicates
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track
from meltpoint.terminal import say

Found = tuple[int, Ints, Ints, Ints, NDArray[np.float64]]  # turn, first, second, distance, agreement: (M,) each

AHEAD = 256  # details that may wait in memory while other pictures are decoded
CHECKED = 1024  # candidate pairs whose pixels are in memory at once


class Details:
    """Details of pictures (N, SIDE, SIDE) in a file: those of a million take 3 GB."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.count = file, 0

    def append(self, detail: Detail) -> None:
        """Add that of one picture; after the last one, `flush`."""
        self.file.write(detail.tobytes())
        self.count += 1

    @property
    def rows(self) -> Detail:
        """All of them, (N, SIDE, SIDE); mapped anew each time, or pages seen would count as memory."""
        self.file.flush()
        return np.memmap(self.file, np.int8, "r+", shape=(self.count, SIDE, SIDE))


def find_duplicates(
    files: list[str], read: Callable[[str], Pixels], settings: Duplicates, work: Path
) -> list[Duplicate]:
    """Pairs of duplicates among `files`, sorted; `read` gives a picture as uint8 (H, W), in several threads.

    Of pictures with equal pixels each is paired with the first of them, and only that one is compared with others. A
    picture without any detail has no near-duplicates. `work`: a folder for 3 kB of each picture, for the time.
    """
    digests: list[bytes] = []
    first_of: dict[bytes, int] = {}
    compared: list[int] = []

    def look(path: str) -> tuple[bytes, Detail]:
        grey = np.ascontiguousarray(read(path))
        return hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest(), detail_of(grey)

    with tempfile.TemporaryFile(dir=work) as file:
        details = Details(file)
        looks = map_ahead(look, files, AHEAD, None)
        for row, (digest, detail) in enumerate(track(looks, "look for duplicates", len(files))):
            digests.append(digest)
            if first_of.setdefault(digest, row) == row and detail.any():
                compared.append(row)
                details.append(detail)
        order = np.argsort([digests[row] for row in compared], kind="stable")  # the order of files does not matter
        near = find_near(details, order, settings) if len(compared) > 1 else []
    exact = [
        Duplicate(first_of[digest], row, exact=True, turn=TURNS[0], correlation=1.0, distance=0)
        for row, digest in enumerate(digests)
        if first_of[digest] != row
    ]
    named = [replace(pair, first=compared[pair.first], second=compared[pair.second]) for pair in near]
    return sorted(exact + named, key=lambda pair: (pair.first, pair.second))


def find_near(details: Details, sample: Ints, settings: Duplicates) -> list[Duplicate]:
    """Pairs of rows of `details`, which are changed, that are near-duplicates; the best turn of each.

    `sample`: rows of which the common pattern is learned, as many as that takes.
    """
    count = details.count
    weaken = learn_common(np.asarray(details.rows[sample[:SAMPLE]]), settings.common, count)
    words = np.empty((len(TURNS), FREQUENCIES**2 // 64, count), dtype=np.uint64)
    for start in range(0, count, CHUNK):
        part = details.rows[start : start + CHUNK]
        part[:] = weaken(part)
        words[:, :, start : start + CHUNK] = hash_details(part)
    tables = settings.tables_of(count)
    if told := about_comparing(count, tables):
        say(f"Note: {told}")
    found_pairs = _of_all(details, words, settings) if tables is None else _of_tables(details, words, settings, tables)
    best: dict[tuple[int, int], tuple[float, int, int]] = {}
    for turn, first, second, distance, agree in found_pairs:
        for one, two, bits, correlation in zip(*map(np.ndarray.tolist, (first, second, distance, agree)), strict=True):
            found = correlation, -turn, bits
            best[one, two] = max(best.get((one, two), (-1.0, 0, 0)), found)
    return [
        Duplicate(one, two, exact=False, turn=TURNS[-turn], correlation=agree, distance=bits)
        for (one, two), (agree, turn, bits) in best.items()
    ]


def _of_all(details: Details, words: Hashes, settings: Duplicates) -> Iterator[Found]:
    """All pairs that there are."""
    parts, starts = compare_all(words)

    def compare(start: int) -> list[Pairs]:
        return list(close_pairs(words, parts, start, settings.hash_distance))

    workers = os.cpu_count() or 1
    for found in track(map_ahead(compare, starts, 8 * workers, workers), "compare hashes", len(starts), unit="block"):
        for turn, *candidates in found:
            yield from _agreeing(details, turn, candidates, settings.correlation)


def _of_tables(details: Details, words: Hashes, settings: Duplicates, tables: int) -> Iterator[Found]:
    """Pairs that meet in a table, but for those that others have joined already: enough to know what is together."""
    count = details.count
    joined: Ints = np.empty((2, 0), dtype=np.int64)
    groups, seen = np.arange(count), np.empty(0, dtype=np.int64)
    proposed = propose(words, settings.hash_distance, tables)
    for turn, first, second, distance in track(proposed, "compare hashes", tables * len(TURNS), unit="table"):
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


def _agreeing(details: Details, turn: int, candidates: Sequence[Ints], least: float) -> Iterator[Found]:
    """Those of the candidates (first, second, distance) whose pixels agree, and how well."""
    first, second, distance = candidates
    for start in range(0, len(first), CHECKED):
        part = slice(start, start + CHECKED)
        rows = details.rows
        agree = agreement(rows[first[part]], turned(rows[second[part]], turn)).round(4)
        kept = np.flatnonzero(agree >= least)
        yield turn, first[part][kept], second[part][kept], distance[part][kept], agree[kept]
