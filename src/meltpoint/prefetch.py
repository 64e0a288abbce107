"""Work done ahead of the one who takes it, in order, by threads, with a bound on what waits."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_ahead(make: Callable[[Item], Made], items: Iterable[Item], ahead: int, threads: int | None) -> Iterator[Made]:
    """`make` of each item, in order, at most `ahead` of them in advance, on `threads` (None: a few for each core).

    Whoever stops taking, or is given an error, leaves nothing running.
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
