"""Hashes that meet in tables are proposed, none that are too far apart, and clusters cost no more than others."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.data.duplicates import close_pairs
from meltpoint.data.hash_tables import NEXT, propose
from meltpoint.duplicate import TURNS

Pairs = dict[tuple[int, int, int], int]  # turn, row, later row: bits


def words(count: int, spread: int, seed: int) -> np.ndarray:
    """Hashes (8, 4, count) that differ from a common one in some of `spread` bits; 0: all are equal."""
    random = np.random.default_rng(seed)
    bits = np.zeros((len(TURNS), count, 256), dtype=bool)
    bits[..., :spread] = random.random((len(TURNS), count, spread)) < 0.3
    return np.ascontiguousarray(np.packbits(bits, axis=2).view(np.uint64).transpose(0, 2, 1))


def proposed(hashes: np.ndarray, limit: int, tables: int) -> Pairs:
    found: Pairs = {}
    for turn, first, second, bits in propose(hashes, limit, tables):
        found |= {
            (turn, *pair): apart for *pair, apart in zip(first.tolist(), second.tolist(), bits.tolist(), strict=True)
        }
    return found


def all_pairs(hashes: np.ndarray, limit: int) -> Pairs:
    found: Pairs = {}
    for turn in range(len(TURNS)):
        first, second, bits = close_pairs(hashes[0], hashes[turn], 0, limit)
        found |= {
            (turn, *pair): apart for *pair, apart in zip(first.tolist(), second.tolist(), bits.tolist(), strict=True)
        }
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(0, 256), st.integers(0, 99), st.integers(0, 120))
def test_what_is_proposed_is_among_all_pairs(count: int, spread: int, seed: int, limit: int) -> None:
    hashes = words(count, spread, seed)
    assert proposed(hashes, limit, 3).items() <= all_pairs(hashes, limit).items()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, NEXT // 2), st.integers(0, 24), st.integers(0, 99))
def test_few_that_are_near_are_all_found(count: int, spread: int, seed: int) -> None:
    """Keys have 2 bits at most: in one of 64 tables both agree. And of those with one key all are compared."""
    hashes = words(count, spread, seed)
    assert proposed(hashes, 255, 64) == all_pairs(hashes, 255)


def test_many_equal_hashes_are_joined_at_the_cost_of_any_others() -> None:
    count = 20_000
    turn, first, second, bits = next(propose(words(count, 0, 0), 88, 1))
    assert (turn, len(first)) == (0, sum(count - step for step in range(1, NEXT + 1)))
    assert not bits.any()
    assert set(first.tolist()) | set(second.tolist()) == set(range(count))
    assert all(len(row) <= 2 * NEXT * count for _, row, *_ in propose(words(count, 0, 0), 88, 1))
