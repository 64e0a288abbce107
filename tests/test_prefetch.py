import threading
import time
from collections.abc import Iterator

import pytest

from meltpoint.prefetch import map_ahead


@pytest.mark.parametrize("ahead", [0, 1, 5, 100])
def test_the_order_is_kept(ahead: int) -> None:
    def make(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(map_ahead(make, range(20), ahead, 4)) == [number * number for number in range(20)]


def test_no_more_than_so_many_wait() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    for number, _ in enumerate(map_ahead(abs, items(), 3, 2)):
        assert taken - number <= 3 + 1


def test_an_error_comes_where_its_item_would_and_ends_the_work() -> None:
    made = []

    def make(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        made.append(number)
        return number

    got = []
    with pytest.raises(ValueError, match="three"):
        for number in map_ahead(make, range(1000), 4, 1):
            got.append(number)
    assert got == [0, 1, 2]
    assert len(made) < 20


def test_whoever_stops_leaves_no_thread() -> None:
    before = threading.active_count()
    numbers = map_ahead(abs, range(1000), 4, 2)
    assert next(numbers) == 0
    numbers.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
