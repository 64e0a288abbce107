"""Computes results ahead of their use, in order, in threads, with a bound on how many wait."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_ahead(make: Callable[[Item], Made], items: Iterable[Item], ahead: int, threads: int | None) -> Iterator[Made]:
    """`make` of each item, in order, at most `ahead` of them in advance, on `threads` (None: a few for each core).

    When the consumer stops, or an error is raised, nothing is left running.
    """
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
