"""Hashes that meet in tables are proposed, none that are too far apart, and clusters cost no more than others."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.data.hash_pairs import COLUMNS, ROWS, close_pairs, compare_all
from meltpoint.data.hash_tables import NEXT, propose
from meltpoint.data.perceptual_hash import turn_hashes

Pairs = dict[tuple[int, int, int], int]  # turn, row, later row: bits


def words(count: int, spread: int, seed: int) -> np.ndarray:
    """Hashes (8, 4, count) that differ from a common one in some of `spread` bits; 0: all are equal."""
    random = np.random.default_rng(seed)
    bits = np.tile(random.random((1, 256)) < 0.5, (count, 1))
    bits[:, :spread] ^= random.random((count, spread)) < 0.3
    return turn_hashes(bits[:, random.permutation(256)].reshape(count, 16, 16))


def proposed(hashes: np.ndarray, limit: int, tables: int) -> Pairs:
    found: Pairs = {}
    for turn, first, second, bits in propose(hashes, limit, tables):
        found |= {
            (turn, *pair): apart for *pair, apart in zip(first.tolist(), second.tolist(), bits.tolist(), strict=True)
        }
    return found


def all_pairs(hashes: np.ndarray, limit: int) -> Pairs:
    """Those of a plain loop over all pairs and turns."""
    found: Pairs = {}
    for turn, moved in enumerate(hashes):
        apart = np.bitwise_count(hashes[0][:, :, None] ^ moved[:, None]).sum(axis=0)
        for row, later in zip(*np.nonzero(np.triu(apart <= limit, 1)), strict=True):
            found[turn, int(row), int(later)] = int(apart[row, later])
    return found


def compared(hashes: np.ndarray, limit: int) -> tuple[Pairs, int]:
    """Those of the blocks, and how many came, of which each pair may be only one."""
    parts, starts = compare_all(hashes)
    found = [pairs for start in starts for pairs in close_pairs(hashes, parts, start, limit)]
    rows = [(turn, *row) for turn, *columns in found for row in zip(*(one.tolist() for one in columns), strict=True)]
    return {(turn, first, second): bits for turn, first, second, bits in rows}, len(rows)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 2 * ROWS), st.integers(0, 256), st.integers(0, 99), st.integers(0, 255))
def test_one_comparison_for_four_turns_finds_the_pairs_of_a_plain_loop(
    count: int, spread: int, seed: int, limit: int
) -> None:
    hashes = words(count, spread, seed)
    expected = all_pairs(hashes, limit)
    assert compared(hashes, limit) == (expected, len(expected))


def test_no_pair_is_lost_between_blocks() -> None:
    hashes = words(COLUMNS + ROWS + 1, 256, 0)
    for first, second in ((0, COLUMNS), (ROWS - 1, ROWS), (ROWS, COLUMNS + ROWS - 1), (5, COLUMNS + ROWS)):
        hashes[:, :, second] = hashes[:, :, first]
    found, _ = compared(hashes, 4)
    assert {(0, 0, COLUMNS), (0, ROWS - 1, ROWS), (0, ROWS, COLUMNS + ROWS - 1), (0, 5, COLUMNS + ROWS)} <= set(found)


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
