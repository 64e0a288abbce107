"""No group crosses, every class is everywhere or the split is refused, and the order of rows means nothing."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.split import SplitError, SplitResult, split_samples
from meltpoint.duplicate import Duplicate
from meltpoint.params.data import Duplicates, Ratios, Split
from meltpoint.tables import SPLITS, Classes, check_samples

CLASSES: Classes = {"kind": ["cat", "dog"], "mood": ["calm", "wild", "odd"]}
SPLIT = Split(
    seed=7,
    official=True,
    ratios=Ratios(train=0.64, val=0.11, test=0.25),
    duplicates=Duplicates(hash_distance=88, correlation=0.6, common=0.005),
)


def make_samples(count: int, seed: int = 0, **columns: Any) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    number = np.arange(count)
    table = {
        "id": number,
        "path": [f"{name:04d}.png" for name in number],
        "kind": random.choice(["cat", "dog"], count),
        "mood": random.choice(["calm", "wild", "odd", None], count, p=[0.5, 0.25, 0.15, 0.1]),
        "group": None,
        "split": None,
        "width": 8,
        "height": 8,
        "sha256": [f"{name:064x}" for name in number],
    }
    return check_samples(pd.DataFrame(table | columns), CLASSES)


def pair(first: int, second: int, exact: bool = False) -> Duplicate:
    return Duplicate(min(first, second), max(first, second), exact, "as it is", 0.9, 10)


def run(
    samples: pd.DataFrame, pairs: list[Duplicate] | None = None, split: Split = SPLIT, seed: int = 7
) -> SplitResult:
    return split_samples(samples, CLASSES, pairs or [], split.model_copy(update={"seed": seed}))


def make_case(seed: int, names: int, links: list[tuple[int, int]]) -> tuple[pd.DataFrame, list[Duplicate]]:
    """200 images, some in named groups, some linked to near neighbours in the table."""
    drawn = np.random.default_rng(seed).integers(0, names, 200)
    samples = make_samples(200, seed, group=[f"g{name}" if name < 15 else None for name in drawn])
    return samples, [pair(first, min(first + step, 199)) for first, step in links if first < 199]


cases = st.builds(
    make_case,
    st.integers(0, 1000),
    st.integers(40, 100),
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 9)), max_size=12),
)


@given(cases)
def test_no_group_and_no_pair_crosses(case: tuple[pd.DataFrame, list[Duplicate]]) -> None:
    samples, pairs = case
    result = run(samples, pairs).samples
    assert (result.groupby("group")["split"].nunique() == 1).all()
    named = samples["group"].notna()
    assert (result["split"].groupby(samples["group"][named]).nunique() == 1).all()
    split = result["split"].tolist()
    assert all(split[pair.first] == split[pair.second] for pair in pairs)


@given(cases, st.integers(0, 100))
def test_the_split_is_a_function_of_seed_and_images_not_of_row_order(
    case: tuple[pd.DataFrame, list[Duplicate]], seed: int
) -> None:
    samples, pairs = case
    order = np.random.default_rng(seed).permutation(len(samples))
    place = np.argsort(order)
    shuffled = samples.iloc[order].reset_index(drop=True)
    moved = [pair(int(place[one.first]), int(place[one.second]), one.exact) for one in pairs]
    first, second = run(samples, pairs, seed=seed), run(shuffled, moved, seed=seed)
    pd.testing.assert_frame_equal(second.samples.sort_values("id").reset_index(drop=True), first.samples)
    assert first.report == second.report
    assert first.parted == second.parted


@given(cases)
def test_ratios_and_classes_keep_their_shares(case: tuple[pd.DataFrame, list[Duplicate]]) -> None:
    samples, pairs = case
    result = run(samples, pairs)
    largest = result.report["largest_group"]
    for split, share in SPLIT.ratios.model_dump().items():
        assert abs(result.report["images"][split] - share * 200) <= 3 + largest
        for label, names in CLASSES.items():
            for name in names:
                wanted = share * int((samples[label] == name).sum())
                assert abs(result.report["classes"][label][name][split] - wanted) <= 4 + largest


def test_columns_and_order_of_the_table_are_kept() -> None:
    samples = make_samples(100)
    result = run(samples).samples
    assert list(result.columns) == list(samples.columns)
    pd.testing.assert_frame_equal(result.drop(columns=["split", "group"]), samples.drop(columns=["split", "group"]))
    check_samples(result, CLASSES)
    assert set(result["split"]) == set(SPLITS)


def test_seeds_give_different_splits() -> None:
    splits = {tuple(run(make_samples(100), seed=seed).samples["split"]) for seed in range(5)}
    assert len(splits) == 5


def moved(before: SplitResult, after: SplitResult) -> float:
    """The share of the images of both that are in another split, by their bytes."""
    first, second = (one.samples.set_index("sha256")["split"] for one in (before, after))
    both = first.index.intersection(second.index)
    return float((first[both] != second[both]).mean())


def take(samples: pd.DataFrame, kept: np.ndarray) -> pd.DataFrame:
    """Some of the rows with new ids, as the download stage gives them."""
    rows = samples[kept].reset_index(drop=True)
    return rows.assign(id=np.arange(len(rows)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("more", "most"), [(1, 0.005), (10, 0.01), (100, 0.03)])
def test_adding_and_removing_images_moves_few_others(seed: int, more: int, most: float) -> None:
    whole = make_samples(1000, seed, group=[f"g{number // 3}" if number < 150 else None for number in range(1000)])
    kept = np.ones(1000, dtype=bool)
    kept[np.random.default_rng(seed).choice(1000, more, replace=False)] = False
    assert moved(run(whole), run(take(whole, kept))) <= most


def test_a_pair_that_is_found_anew_stays_where_its_first_image_was() -> None:
    samples = make_samples(600)
    before = run(samples)
    split = before.samples["split"]
    first = 10
    second = next(number for number in range(11, 600) if split[number] != split[first])
    after = run(samples, [pair(first, second)])
    assert after.samples["split"][second] == after.samples["split"][first] == split[first]
    assert moved(before, after) <= 3 / 600


def test_new_names_and_folders_change_no_split() -> None:
    samples = make_samples(300)
    renamed = samples.assign(path=[f"new/{number:04d}.jpg" for number in reversed(range(300))])
    assert run(renamed).samples["split"].tolist() == run(samples).samples["split"].tolist()


def test_new_images_get_their_share_of_test() -> None:
    whole = make_samples(2000)
    before, after = run(take(whole, np.arange(2000) < 1000)), run(whole)
    new = after.samples["split"][1000:]
    assert moved(before, after) <= 0.03
    assert (new == "test").mean() == pytest.approx(SPLIT.ratios.test, abs=0.04)
    assert (new == "val").mean() == pytest.approx(SPLIT.ratios.val, abs=0.04)


def test_a_class_that_would_be_missing_is_refused_by_name() -> None:
    samples = make_samples(100, mood=["odd"] * 2 + ["calm"] * 49 + ["wild"] * 49)
    with pytest.raises(
        SplitError, match=r"'odd' of 'mood' would be missing from .* \(2 images in 2 groups\)[\s\S]*Add"
    ):
        run(samples)


def test_a_class_in_one_group_is_refused_with_its_groups() -> None:
    samples = make_samples(100, mood=["odd"] * 9 + ["calm"] * 46 + ["wild"] * 45, group=["g"] * 9 + [None] * 91)
    with pytest.raises(SplitError, match=r"'odd' of 'mood'.*\(9 images in 1 groups\)"):
        run(samples)


def test_a_class_without_images_is_refused() -> None:
    with pytest.raises(SplitError, match=r"'odd' of 'mood' would be missing from train, val, test \(0 images"):
        run(make_samples(100, mood=["calm", "wild"] * 50))


def test_a_class_of_three_images_is_in_each_split() -> None:
    report = run(make_samples(100, mood=["odd"] * 3 + ["calm"] * 49 + ["wild"] * 48)).report
    assert report["classes"]["mood"]["odd"] == {"train": 1, "val": 1, "test": 1}


def test_duplicates_that_join_half_of_the_images_are_refused() -> None:
    with pytest.raises(SplitError, match=r"join 60 of 100 images .*split\.duplicates\.correlation"):
        run(make_samples(100), [pair(number, number + 1) for number in range(59)])


def test_official_splits_are_kept_and_a_missing_val_is_cut_from_train() -> None:
    names = ["train"] * 150 + ["test"] * 50
    result = run(make_samples(200, split=names))
    split = result.samples["split"].to_numpy()
    assert (split[150:] == "test").all()
    assert "test" not in split[:150]
    assert (split[:150] == "val").sum() == pytest.approx(150 * 0.11 / 0.75, abs=2)
    cut = int((split[:150] == "val").sum())
    assert result.report["official"] == {
        "kept": {"train": 150 - cut, "val": 0, "test": 50},
        "cut_from_train": cut,
        "leaks": [],
    }


def test_complete_official_splits_are_kept_and_rows_without_one_go_to_train() -> None:
    names = [*["train"] * 100, *["val"] * 40, *["test"] * 40, *[None] * 20]
    result = run(make_samples(200, split=names))
    assert result.samples["split"].tolist() == [*names[:180], *["train"] * 20]
    assert result.report["official"]["cut_from_train"] == 0


def test_official_splits_are_left_aside_if_params_say_so() -> None:
    samples = make_samples(200, split=["train"] * 150 + ["test"] * 50)
    anew = run(samples, split=SPLIT.model_copy(update={"official": False}))
    pd.testing.assert_frame_equal(
        anew.samples, run(samples.assign(split=pd.Series([None] * 200, dtype="string"))).samples
    )
    assert anew.report["official"] is None


def test_a_leak_in_an_official_split_is_reported_and_not_moved() -> None:
    names = ["train"] * 100 + ["val"] * 50 + ["test"] * 50
    result = run(make_samples(200, split=names), [pair(3, 160), pair(4, 120), pair(130, 170), pair(5, 6)])
    assert result.samples["split"].tolist() == names
    assert result.report["official"]["leaks"] == ["0120.png", "0160.png"]
    assert "the official split leaks 2 images" in result.sentence


def test_an_unknown_official_split_is_refused() -> None:
    with pytest.raises(SplitError, match=r"\['dev'\]; known are \['train', 'val', 'test'\]"):
        run(make_samples(100, split=["dev"] * 100))


def test_the_report_counts_pairs_and_what_a_plain_split_would_leak() -> None:
    pairs = [pair(number, number + 100, exact=number < 10) for number in range(100)]
    result = run(make_samples(200), pairs)
    assert result.report["groups"] == 100
    assert result.report["largest_group"] == 2
    duplicates = result.report["duplicates"]
    assert (duplicates["pairs"], duplicates["exact"], duplicates["near"], duplicates["images"]) == (100, 10, 90, 200)
    columns = ["kind", "mood"]
    halves = [result.samples[columns].fillna("").iloc[start : start + 100].reset_index(drop=True) for start in (0, 100)]
    assert duplicates["labelled_differently"] == int((halves[0] != halves[1]).any(axis=1).sum())
    # a test image's twin is in train with the share of train: 50 * 0.64
    assert result.report["leaked_by_random_split"] == pytest.approx(32, abs=6)
    assert len(result.parted) == 100
    assert 25 < sum(result.parted) < 75  # 1 - 0.64**2 - 0.11**2 - 0.25**2 of them


def test_without_duplicates_nothing_leaks() -> None:
    result = run(make_samples(100))
    assert result.report["leaked_by_random_split"] == 0
    assert result.report["duplicates"]["pairs"] == 0
    assert result.parted == []


def make_scenes(shown: list[str], splits: list[str | None]) -> pd.DataFrame:
    table = make_samples(len(shown)).drop(columns=list(CLASSES)).assign(scene=shown, split=splits)
    return check_samples(table.assign(**{"scene.mask": "masks/" + table["path"]}), SCENE)


SCENE: Classes = {"scene": ["sky", "road", "car"]}


def test_masks_are_split_so_that_every_class_shows_in_every_split() -> None:
    shown = ["sky|road"] * 60 + ["road"] * 30 + ["sky|car"] * 3
    result = split_samples(make_scenes(shown, [None] * 93), SCENE, [], SPLIT)
    assert result.report["classes"]["scene"]["car"] == {"train": 1, "val": 1, "test": 1}
    sky = result.report["classes"]["scene"]["sky"]
    assert sum(sky.values()) == 63
    assert all(sky.values())
    assert result.report["duplicates"]["labelled_differently"] == 0


def test_a_class_of_masks_that_misses_a_split_is_told() -> None:
    shown, splits = ["sky|road|car", "sky|road", "sky|road|car"], ["train", "val", "test"]
    with pytest.raises(SplitError, match=r"class 'car' of 'scene' would be missing from val \(2 images"):
        split_samples(make_scenes(shown, splits), SCENE, [], SPLIT)
