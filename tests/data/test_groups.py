"""Groups are what links and names join, whatever the order."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.groups import join_groups, name_groups, pair_links


def table(groups: list[str | None]) -> pd.DataFrame:
    paths = [f"{number}.png" for number in range(len(groups))]
    return pd.DataFrame({"path": paths, "group": pd.Series(groups, dtype="string")}).astype({"path": "string"})


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
