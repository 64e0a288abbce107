"""Probabilities of many batches as one array."""

import weakref
from collections.abc import Iterator

import numpy as np

from meltpoint.arrays import Probabilities
from meltpoint.tasks.picture_answers import join_parts


def test_batches_become_one_array_and_do_not_stay() -> None:
    gone = []

    def read() -> Iterator[Probabilities]:
        before: list[weakref.ref[np.ndarray]] = []
        for number in range(4):
            gone.append(all(known() is None for known in before[:-1]))  # the last one may still be looked at
            batch = np.full((2, 3), number, np.float32)
            before.append(weakref.ref(batch))
            yield {"kind": batch}
            del batch

    joined = join_parts({"kind": ["a", "b", "c"]}, read())["kind"]
    assert gone == [True] * 4
    assert joined.dtype == np.float32
    assert joined.tolist() == [[number] * 3 for number in range(4) for _ in range(2)]


def test_no_batches_are_an_empty_array() -> None:
    assert join_parts({"kind": ["a", "b"]}, [])["kind"].shape == (0, 2)
