"""A model has seen the images it was trained on, and whatever is of one group with them today."""

from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.model.trained_on import read_trained_on, write_trained_on
from meltpoint.registry.rescoring import seen_by


def table(*rows: tuple[str, str, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sha256", "split", "group"], dtype="string")


def trained(folder: Path, *rows: tuple[str, str, str | None]) -> pd.DataFrame:
    write_trained_on(table(*rows), folder)
    read = read_trained_on(folder)
    assert read is not None
    return read


def test_bytes_of_train_and_val_are_seen_and_those_of_test_are_not(tmp_path: Path) -> None:
    before = trained(tmp_path, ("aa", "train", "image:1"), ("bb", "val", "image:2"), ("cc", "test", "image:3"))
    rows = [("dd", "test"), ("aa", "test"), ("cc", "test"), ("bb", "test"), ("ee", "train"), ("aa", "val")]
    today = table(*[(sha256, split, f"image:{number}") for number, (sha256, split) in enumerate(rows)])
    assert seen_by(before, today).tolist() == [False, True, False, True]


def test_a_near_duplicate_of_a_seen_image_is_seen_wherever_that_one_is(tmp_path: Path) -> None:
    before = trained(tmp_path, ("aa", "train", "image:1"), ("bb", "train", "image:2"))
    today = table(
        ("aa", "train", "image:0"), ("xx", "test", "image:0"),  # an official split may part a group
        ("bb", "test", "image:7"), ("yy", "test", "image:7"), ("zz", "test", "image:1"),  # the name of an image is none
    )  # fmt: skip
    assert seen_by(before, today).tolist() == [True, True, True, False]


def test_a_declared_group_is_seen_though_its_images_are_new(tmp_path: Path) -> None:
    before = trained(tmp_path, ("aa", "train", "p1"), ("bb", "test", "p2"), ("cc", "val", "group:image:1"))
    names = ["p1", "p2", "group:image:1", "image:1"]
    today = table(*[(f"x{number}", "test", name) for number, name in enumerate(names)])
    assert seen_by(before, today).tolist() == [True, False, True, False]


def test_rows_without_a_group_go_by_their_bytes(tmp_path: Path) -> None:
    before = trained(tmp_path, ("aa", "train", None))
    assert seen_by(before, table(("aa", "test", None), ("bb", "test", None))).tolist() == [True, False]


def test_a_new_dataset_is_unseen(tmp_path: Path) -> None:
    before = trained(tmp_path, *[(f"a{number}", "train", f"image:{number}") for number in range(9)])
    assert not seen_by(before, table(*[(f"b{n}", "test", f"image:{n}") for n in range(9)])).any()
    assert seen_by(before, table(("a1", "train", "image:1"))).tolist() == []


cells = st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["train", "val", "test"]), st.sampled_from("123456"))


@given(st.lists(cells, max_size=12), st.lists(cells, max_size=12))
def test_it_is_what_its_words_say(old: list[tuple[str, str, str]], new: list[tuple[str, str, str]]) -> None:
    before = pd.DataFrame({"sha256": [row[0] for row in old if row[1] != "test"]}, dtype="string").assign(group=pd.NA)
    known = set(before["sha256"])
    groups = {group for sha256, _, group in new if sha256 in known}
    wanted = [sha256 in known or group in groups for sha256, split, group in new if split == "test"]
    assert seen_by(before, table(*new)).tolist() == wanted
