"""Copies are found whatever was done to them; pictures that only look alike are not."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import elpv_dataset
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.data.duplicates import find_duplicates
from meltpoint.data.groups import join_groups
from meltpoint.data.perceptual_hash import turned
from meltpoint.duplicate import TURNS, Duplicate
from meltpoint.images.decode import read_grey
from meltpoint.params.data import Duplicates
from meltpoint.params.read import read_params

SETTINGS = Duplicates(hash_distance=88, correlation=0.6, common=0.005)


def texture(seed: int, side: int = 128) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(side // 4, side // 4))
    return np.clip(128 + 40 * np.kron(noise, np.ones((4, 4))), 0, 255).astype(np.uint8)


def found(pictures: dict[str, np.ndarray], settings: Duplicates = SETTINGS) -> dict[tuple[str, str], Duplicate]:
    names = list(pictures)
    with TemporaryDirectory() as work:
        pairs = find_duplicates(names, lambda name: pictures[name], settings, Path(work))
    return {(names[pair.first], names[pair.second]): pair for pair in pairs}


def gallery(count: int = 30) -> dict[str, np.ndarray]:
    return {f"other{number}": texture(1000 + number) for number in range(count)}


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert found(gallery()) == {}
    assert found({}) == {}
    assert found({"one": texture(1)}) == {}


def test_the_same_pixels_are_an_exact_pair_with_their_first() -> None:
    pairs = found({**gallery(), "a": texture(1), "b": texture(1), "c": texture(1), "d": texture(2)})
    assert set(pairs) == {("a", "b"), ("a", "c")}
    assert all(
        pair.exact and (pair.turn, pair.correlation, pair.distance) == (TURNS[0], 1.0, 0) for pair in pairs.values()
    )


@pytest.mark.parametrize("turn", range(8))
def test_copies_are_found_at_every_turn_and_the_turn_undoes_it(turn: int) -> None:
    picture = texture(1)
    copy = (turned(picture, turn) * 0.7 + 20).astype(np.uint8)
    pair = found({**gallery(), "a": picture, "b": copy})["a", "b"]
    assert not pair.exact
    assert pair.correlation > 0.9
    matched = np.rot90(copy, pair.quarters)
    matched = matched[:, ::-1] if pair.mirrored else matched
    assert np.corrcoef(matched.ravel(), picture.ravel())[0, 1] > 0.99


def test_tables_join_what_all_pairs_join_and_a_family_with_fewer_pairs() -> None:
    picture = texture(1)
    family = {f"{turn}": (np.ascontiguousarray(turned(picture, turn)) * 0.7 + 20).astype(np.uint8) for turn in range(8)}
    pictures = {**gallery(), **family, "a": texture(2), "b": texture(2) // 2}
    every, few = found(pictures), found(pictures, SETTINGS.model_copy(update={"tables": 64}))
    assert few.items() <= every.items()
    groups = [grouped(list(pairs.values()), len(pictures)).tolist() for pairs in (every, few)]
    assert groups[0] == groups[1]
    assert len(set(groups[0])) == 30 + 2
    assert len(every) == 28 + 1


def test_above_so_many_pictures_hashes_meet_in_tables_and_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = {**gallery(), "a": texture(2), "b": texture(2) // 2}
    few = SETTINGS.model_copy(update={"tables": 64, "above": len(pictures)})
    assert found(pictures, few)
    assert "tables" not in capsys.readouterr().out
    many = few.model_copy(update={"above": len(pictures) - 1})
    assert found(pictures, many)
    assert f"the hashes of {len(pictures)} pictures meet in 64 tables. Not all with all" in capsys.readouterr().out
    assert (SETTINGS.tables_of(10**9), few.tables_of(10**9)) == (None, 64)


def test_size_noise_blur_and_a_stamp_do_not_hide_a_copy() -> None:
    picture, random = texture(1), np.random.default_rng(0)
    noisy = np.clip(picture + random.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
    blurred = (
        (picture.astype(int) + np.roll(picture, 1, 0) + np.roll(picture, 1, 1) + np.roll(picture, -1, 0)) // 4
    ).astype(np.uint8)
    stamped = picture.copy()
    stamped[100:, :60] = 255
    larger = np.kron(picture, np.ones((2, 2))).astype(np.uint8)
    copies = {"noisy": noisy, "blurred": blurred, "stamped": stamped, "larger": larger}
    assert {("a", name) for name in copies} <= set(found({**gallery(), "a": picture, **copies}))


def test_pictures_that_share_a_frame_only_are_no_duplicates() -> None:
    bars = np.full((128, 128), 170, dtype=np.uint8)
    bars[20:24], bars[60:64], bars[100:104], bars[:, :3] = 20, 20, 20, 60
    random = np.random.default_rng(0)
    alike = {f"{n}": np.clip(bars + random.normal(0, 4, bars.shape), 0, 255).astype(np.uint8) for n in range(60)}
    assert found(alike) == {}


def test_blank_pictures_are_duplicates_only_if_they_are_equal() -> None:
    blanks = {f"{shade}": np.full((20, 30), shade, dtype=np.uint8) for shade in (0, 1, 128, 255)}
    assert set(found({**blanks, "again": blanks["128"]})) == {("128", "again")}
    assert found({"a": np.zeros((4, 6), np.uint8), "b": np.zeros((6, 4), np.uint8)}) == {}


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(24)))
def test_the_order_of_files_does_not_matter(order: list[int]) -> None:
    pictures = {**gallery(18), "a": texture(1), "b": texture(1), "c": texture(2), "d": texture(2) // 2 + 9}
    pictures |= {"e": np.ascontiguousarray(texture(2)[:, ::-1]), "f": texture(1) // 3}
    names = list(pictures)
    shuffled = found({names[place]: pictures[names[place]] for place in order})
    joined = {frozenset(pair) for pair in shuffled}
    # of two equal pictures the first in order speaks for both
    assert frozenset("ab") in joined
    assert joined & {frozenset("af"), frozenset("bf")}
    assert {frozenset("cd"), frozenset("ce"), frozenset("de")} <= joined
    assert len(joined) == 5


def test_the_settings_decide() -> None:
    pictures = {**gallery(), "a": texture(1), "b": (texture(1) * 0.7 + texture(3) * 0.3).astype(np.uint8)}
    pair = found(pictures)["a", "b"]
    assert found(pictures, SETTINGS.model_copy(update={"correlation": pair.correlation + 0.01})) == {}
    assert found(pictures, SETTINGS.model_copy(update={"hash_distance": pair.distance - 1})) == {}
    assert found(pictures, SETTINGS.model_copy(update={"hash_distance": pair.distance})) != {}


@pytest.mark.slow
def test_the_default_photographs_have_known_duplicates_and_known_look_alikes(tmp_path: Path) -> None:
    folder = Path(elpv_dataset.__file__).parent / "data" / "images"
    files = sorted(folder.glob("*.png"))
    settings = read_params(Path(__file__).parents[2] / "presets" / "elpv.yaml").split.duplicates
    read = partial(read_grey, read=lambda name: (folder / name).read_bytes())
    pairs = find_duplicates([file.name for file in files], read, settings, tmp_path)
    together = {(int(files[pair.first].stem[4:]), int(files[pair.second].stem[4:])) for pair in pairs}
    assert {(956, 957), (2286, 2321), (357, 358), (99, 100)} <= together
    plain = {(1213, 1214), (1164, 1184), (1336, 1344), (1340, 1343), (1268, 1269), (901, 921), (1542, 1543)}
    assert not plain & together
    numbers = grouped(pairs, len(files))
    assert np.bincount(numbers).max() < 0.02 * len(files)
    assert not any(pair.exact for pair in pairs)
    in_tables = settings.model_copy(update={"tables": 200})
    tables = find_duplicates([file.name for file in files], read, in_tables, tmp_path)
    assert {(pair.first, pair.second) for pair in tables} <= {(pair.first, pair.second) for pair in pairs}
    assert grouped(tables, len(files)).max() - numbers.max() <= 3, "of 2,016 groups few fall apart"


def grouped(pairs: list[Duplicate], count: int) -> np.ndarray:
    ungrouped = pd.DataFrame({"group": pd.Series([None] * count, dtype="string")})
    return join_groups(ungrouped, np.array([(pair.first, pair.second) for pair in pairs]))
