"""Groups are what links and names join, whatever the order."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from meltpoint.data.groups import draw_groups, join_groups, name_groups


def table(groups: list[str | None]) -> pd.DataFrame:
    paths = [f"{number}.png" for number in range(len(groups))]
    return pd.DataFrame({"path": paths, "group": pd.Series(groups, dtype="string")}).astype({"path": "string"})


def pair_links(pairs: list[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def test_names_and_links_join_rows_in_chains() -> None:
    samples = table(["a", None, "a", None, "b", None])
    numbers = join_groups(samples, pair_links([(2, 3), (3, 1)]))
    assert len({numbers[row] for row in (0, 1, 2, 3)}) == 1
    assert len(set(numbers)) == 3
    assert name_groups(samples, numbers).tolist() == ["a", "a", "a", "a", "b", "image:5.png"]


def test_a_group_that_joins_two_names_takes_the_first() -> None:
    samples = table(["b", "a", None])
    assert name_groups(samples, join_groups(samples, pair_links([(0, 1)]))).tolist() == ["a", "a", "image:2.png"]


def test_without_names_and_links_everyone_is_alone() -> None:
    samples = table([None] * 4)
    assert len(set(join_groups(samples, pair_links([])))) == 4
    assert name_groups(samples, join_groups(samples, pair_links([]))).tolist() == ("image:" + samples["path"]).tolist()


NAMES = st.sampled_from(["0.png", "image:0.png", "image:1.png", "group:0.png", "group:image:1.png", "image:", "group:"])


@given(st.lists(st.one_of(st.none(), NAMES), min_size=2, max_size=8))
def test_no_two_groups_share_a_name(groups: list[str | None]) -> None:
    samples = table(groups)
    numbers = join_groups(samples, pair_links([]))
    assert name_groups(samples, numbers).nunique() == len(set(numbers))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), st.permutations(range(10)))
def test_the_order_of_rows_changes_nothing(links: list[tuple[int, int]], order: list[int]) -> None:
    samples = table(["a", "b", None, None, "a", None, None, None, None, "b"])
    place = np.argsort(order)
    moved = samples.iloc[order].reset_index(drop=True)
    names = name_groups(samples, join_groups(samples, pair_links(links)))
    again = name_groups(moved, join_groups(moved, place[pair_links(links)]))
    assert again.tolist() == names.iloc[order].tolist()


def draws(
    paths: list[str], hashes: list[str], groups: list[str | None], numbers: list[int], seed: int = 7
) -> list[float]:
    samples = pd.DataFrame({"path": paths, "sha256": hashes, "group": groups}, dtype="string")
    return draw_groups(samples, np.array(numbers), seed).tolist()


def test_an_image_draws_by_its_bytes_alone() -> None:
    alone = draws(["cat/1.png"], ["aa"], [None], [0])
    assert draws(["dog/9.png"], ["aa"], [None], [0]) == alone
    assert draws(["a.png", "cat/1.png"], ["bb", "aa"], [None, None], [0, 1])[1:] == alone
    assert draws(["cat/1.png"], ["bb"], [None], [0]) != alone
    assert draws(["cat/1.png"], ["aa"], [None], [0], seed=8) != alone


def test_a_group_draws_by_the_first_of_its_paths_whatever_joins_after() -> None:
    alone = draws(["1.png"], ["aa"], [None], [0])
    assert draws(["3.png", "1.png", "2.png"], ["cc", "aa", "bb"], [None] * 3, [0, 0, 0]) == alone * 3
    assert draws(["0.png", "1.png"], ["aa", "aa"], [None] * 2, [0, 0]) == alone * 2  # a copy of it


def test_a_declared_group_draws_by_its_name_and_of_two_by_the_first() -> None:
    alone = draws(["1.png"], ["aa"], ["p1"], [0])
    assert draws(["0.png", "1.png", "2.png"], ["bb", "cc", "dd"], [None, "p2", "p1"], [4, 4, 4]) == alone * 3
    assert draws(["1.png"], ["p1"], [None], [0]) != alone  # no bytes can be taken for a name


def test_draws_are_even() -> None:
    count = 4000
    found = draws(
        [f"{number}" for number in range(count)], [f"{n:x}" for n in range(count)], [None] * count, list(range(count))
    )
    assert np.abs(np.histogram(found, 10, (0, 1))[0] - count / 10).max() < 80
    assert 0 <= min(found) < max(found) < 1
