import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.train.batches import Store, TrainImages, _read, choose_views, cut_batches, mix, mix_one

Numbers = st.integers(0, 2**62)


@given(Numbers, Numbers, st.lists(Numbers, min_size=1, max_size=5))
def test_mix_of_arrays_is_that_of_their_numbers(seed: int, epoch: int, ids: list[int]) -> None:
    mixed = mix(seed, epoch, np.array(ids))
    assert mixed.tolist() == [mix_one(seed, epoch, number) for number in ids]
    assert (mixed >= 0).all()


@given(st.lists(st.tuples(Numbers, Numbers), min_size=2, max_size=2, unique=True))
def test_mix_tells_numbers_and_their_order_apart(pairs: list[tuple[int, int]]) -> None:
    assert mix_one(*pairs[0]) != mix_one(*pairs[1])


def test_views_are_as_likely_and_do_not_depend_on_the_order() -> None:
    ids = np.arange(30_000)
    views = choose_views(3, 1, ids, 4)
    assert np.abs(np.bincount(views, minlength=5) / len(ids) - 0.2).max() < 0.01
    assert (choose_views(3, 1, ids[::-1], 4)[::-1] == views).all()
    assert (choose_views(3, 2, ids, 4) != views).mean() == pytest.approx(0.8, abs=0.01)


@given(st.integers(0, 99), st.integers(0, 9), st.integers(1, 60), st.integers(1, 70))
def test_batches_are_full_and_hold_no_image_twice(seed: int, epoch: int, n_images: int, batch: int) -> None:
    batches = cut_batches(seed, epoch, n_images, batch)
    numbers = np.concatenate(batches)
    assert {len(numbers) for numbers in batches} == {min(batch, n_images)}
    assert len(set(numbers.tolist())) == len(numbers) > n_images - batch
    assert set(numbers.tolist()) <= set(range(n_images))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder, rng = tmp_path_factory.mktemp("store"), np.random.default_rng(0)
    np.save(folder / "plain.npy", rng.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8))
    train = np.array([1, 4, 5, 9, 12, 20, 21, 22, 25, 28, 29])
    np.save(folder / "augmented.npy", rng.integers(0, 256, (len(train), 3, 4, 4, 3), dtype=np.uint8))
    return Store(folder / "plain.npy", folder / "augmented.npy", 3, train)


@given(picks=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3)), min_size=1, max_size=12))
def test_a_store_gives_the_views_asked_for(store: Store, picks: list[tuple[int, int]]) -> None:
    plain, augmented = np.load(store.plain), np.load(store.augmented or "")
    numbers, views = (np.array(column) for column in zip(*picks, strict=True))
    wanted = [augmented[number, view - 1] if view else plain[store.train[number]] for number, view in picks]
    assert (store.read_train(numbers, views) == np.stack(wanted)).all()


def images(store: Store, **fields: Any) -> TrainImages:
    given: dict[str, Any] = {"seed": 1, "batch": 4, "transform": None, "workers": 0, "share": 0, "shares": 1}
    return TrainImages(store, store.train * 10, **given | fields)


def shown(source: TrainImages, epoch: int, start: int = 0) -> list[tuple[list[int], bytes]]:
    return [(numbers.tolist(), pixels.numpy().tobytes()) for pixels, numbers in source.load(epoch, start, False)]


def test_an_epoch_can_be_entered_at_any_batch(store: Store) -> None:
    source = images(store)
    whole = shown(source, 2)
    assert len(whole) == source.batches == 2
    assert shown(source, 2, 1) == whole[1:]
    assert shown(source, 2, 2) == []
    assert shown(source, 3) != whole


def test_shares_are_distinct_and_make_up_the_batch(store: Store) -> None:
    whole = [numbers for numbers, _ in shown(images(store), 0)]
    parts = [[numbers for numbers, _ in shown(images(store, share=share, shares=2), 0)] for share in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


def darken(image: np.ndarray[Any, np.dtype[np.uint8]], seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return image // np.uint8(seed % 7 + 1)


def test_on_the_fly_views_depend_on_seed_epoch_and_id_alone(store: Store) -> None:
    fly = images(replace(store, augmented=None, count=0), transform=darken)
    numbers = np.arange(len(store.train))
    first = fly.read(0, numbers)
    assert (fly.read(0, numbers[::-1])[::-1] == first).all()
    assert (fly.read(1, numbers) != first).any()
    assert shown(replace(fly, workers=2), 0) == shown(fly, 0)


def test_rows_are_read_without_mapping_the_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, views = np.arange(11), np.arange(11) % 4
    wanted = store.read_train(numbers, views)
    mapped: list[Any] = []
    getitem = np.memmap.__getitem__
    monkeypatch.setattr(np.memmap, "__getitem__", lambda array, key: mapped.append(key) or getitem(array, key))
    assert (store.read_train(numbers, views) == wanted).all()
    assert mapped == []


def test_a_file_that_was_cut_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "plain.npy").write_bytes(store.plain.read_bytes())
    opened = np.load(tmp_path / "plain.npy", mmap_mode="r")
    os.truncate(tmp_path / "plain.npy", opened.offset + 10)
    with pytest.raises(EOFError, match="ends within row 3"):
        _read(opened, np.array([3]), np.empty((1, 4, 4, 3), np.uint8), np.array([0]))
