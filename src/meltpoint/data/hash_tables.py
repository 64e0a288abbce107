"""Proposes pairs of pictures with similar hashes without comparing all with all: those that meet in a table of keys.

A key is the values of some bits of the 256, drawn anew for each table: two hashes that differ in d bits share a key of
k bits with the probability (1 - d/256)^k (locality-sensitive hashing by sampled bits: Indyk and Motwani 1998). With k
of about log2 of the pictures, a table costs a sort. Cutting hashes into pieces that must agree (multi-index hashing:
Norouzi, Punjani and Fleet 2012) finds all pairs, but not where a third of the bits may differ: docs/splitting.md.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from meltpoint.data.perceptual_hash import Hashes
from meltpoint.duplicate import TURNS, key_bits

Rows = NDArray[np.int64]
BITS = 256
NEXT = 8  # how many that follow in a table each is compared with: many equal hashes cost no more than others
MIXERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64)


def propose(words: Hashes, limit: int, tables: int) -> Iterator[tuple[int, Rows, Rows, Rows]]:
    """For each table and turn: the turn, rows, later rows, and in how many bits they differ, up to `limit`; (M,) each.

    `words`: hashes under each turn, uint64 (8, 4, N). The bits are drawn by the number of the table alone. A pair comes
    from each table that it meets in, M is below NEXT * 2 * N, and memory is that of one table.
    """
    size = key_bits(words.shape[2])
    for table in range(tables):
        mask = _mask(np.random.default_rng(table).choice(BITS, size, replace=False))
        still = _keys(words[0], mask)
        for turn in range(len(TURNS)):
            first, second = _meet(still, None if turn == 0 else _keys(words[turn], mask))
            bits = np.bitwise_count(words[0][:, first] ^ words[turn][:, second]).sum(axis=0, dtype=np.int64)
            close = bits <= limit
            yield turn, first[close], second[close], bits[close]


def _mask(bits: NDArray[np.int64]) -> NDArray[np.uint64]:
    mask = np.zeros(BITS // 64, dtype=np.uint64)
    np.bitwise_or.at(mask, bits // 64, np.uint64(1) << (bits % 64).astype(np.uint64))
    return mask


def _keys(words: NDArray[np.uint64], mask: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One number (N,) for the masked bits of hashes (4, N); others may get the same, which costs a comparison."""
    keys = np.zeros(words.shape[1], dtype=np.uint64)
    for word, part, mixer in zip(words, mask, MIXERS, strict=True):
        keys = (keys ^ (word & part)) * mixer
        keys ^= keys >> np.uint64(29)
    return keys


def _meet(still: NDArray[np.uint64], moved: NDArray[np.uint64] | None) -> tuple[Rows, Rows]:
    """Rows (M,) and later rows (M,) with equal keys; with `moved`, the later one's key is from there."""
    count = len(still)
    keys = still if moved is None else np.concatenate([still, moved])
    order = np.argsort(keys, kind="stable")
    keys, found = keys[order], []
    for step in range(1, NEXT + 1):
        place = np.flatnonzero(keys[:-step] == keys[step:])
        if not len(place):
            break
        one, other = order[place], order[place + step]
        if moved is None:
            found.append(np.stack([np.minimum(one, other), np.maximum(one, other)]))
        else:  # the stable sort has those of `still` before those of `moved`
            pair = np.stack([one, other - count])
            found.append(pair[:, (one < count) & (other >= count) & (pair[1] > one)])
    first, second = np.concatenate(found, axis=1) if found else np.empty((2, 0), dtype=np.int64)
    return first, second
