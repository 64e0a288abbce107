import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meltpoint import parts
from meltpoint.arrays import Pixels
from meltpoint.parts import Parts, open_parts, write_parts
from meltpoint.train.batches import (
    Store,
    TrainImages,
    balance,
    choose_views,
    cut_batches,
    draw_order,
    mix,
    mix_one,
    spread_epochs,
)

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
    batches = cut_batches(draw_order(seed, epoch, n_images), batch)
    numbers = np.concatenate(batches)
    assert {len(numbers) for numbers in batches} == {min(batch, n_images)}
    assert len(set(numbers.tolist())) == len(numbers) > n_images - batch
    assert set(numbers.tolist()) <= set(range(n_images))


Targets = st.lists(st.integers(-1, 3), min_size=1, max_size=40).map(np.array)


@given(Targets)
def test_balanced_classes_are_as_likely(targets: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> None:
    chances = balance(targets)
    assert chances.mean() == pytest.approx(1)
    assert (chances[targets < 0] == 1).all()
    of_class = [chances[targets == name].sum() for name in set(targets[targets >= 0].tolist())]
    assert of_class == pytest.approx([sum(of_class) / len(of_class)] * len(of_class) if of_class else [])


def test_a_rare_class_is_drawn_as_often_as_the_others() -> None:
    targets = np.array([0] * 970 + [1] * 20 + [-1] * 110)
    orders = [draw_order(3, epoch, balance(targets)) for epoch in range(20)]
    assert {order.dtype for order in orders} == {np.dtype(np.int64)}
    drawn = np.bincount(targets[np.concatenate(orders)] + 1) / 22_000
    assert drawn == pytest.approx([0.1, 0.45, 0.45], abs=0.015)


def test_draws_are_a_pure_function_of_seed_and_epoch() -> None:
    chances = balance(np.array([0] * 50 + [1] * 5))
    assert (draw_order(3, 1, chances) == draw_order(3, 1, chances)).all()
    assert (draw_order(3, 1, chances) != draw_order(3, 2, chances)).any()
    assert (draw_order(3, 1, chances) != draw_order(4, 1, chances)).any()


@given(st.integers(0, 9), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_an_image_that_comes_again_comes_as_in_another_epoch(epoch: int, numbers: list[int]) -> None:
    epochs = spread_epochs(epoch, np.array(numbers)).tolist()
    assert len(set(zip(numbers, epochs, strict=True))) == len(numbers)
    first = [numbers.index(number) == place for place, number in enumerate(numbers)]
    assert [shown == epoch for shown in epochs] == first
    assert all(shown == epoch or shown > 10**9 for shown in epochs)


def keep(path: Path, array: Pixels) -> Parts:
    """The array on the disk, in several files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", 300)
        with write_parts(path, array.shape, "|u1") as writer:
            writer.write(array.tobytes())
    found = open_parts(path)
    assert found is not None
    assert len(found.files) > 2
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder, rng = tmp_path_factory.mktemp("store"), np.random.default_rng(0)
    plain = keep(folder / "plain.npy", rng.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8))
    train = np.array([1, 4, 5, 9, 12, 20, 21, 22, 25, 28, 29])
    augmented = keep(folder / "augmented.npy", rng.integers(0, 256, (len(train), 3, 4, 4, 3), dtype=np.uint8))
    return Store(plain, augmented, 3, train, np.arange(len(train)))


@given(picks=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3)), min_size=1, max_size=12))
def test_a_store_gives_the_views_asked_for(store: Store, picks: list[tuple[int, int]]) -> None:
    plain, augmented = np.asarray(store.plain), np.asarray(store.augmented)
    numbers, views = (np.array(column) for column in zip(*picks, strict=True))
    wanted = [augmented[number, view - 1] if view else plain[store.train[number]] for number, view in picks]
    assert (store.read_train(numbers, views) == np.stack(wanted)).all()


def images(store: Store, masks: Store | None = None, **fields: Any) -> TrainImages:
    given: dict[str, Any] = {"seed": 1, "batch": 4, "transform": None, "workers": 0, "share": 0, "shares": 1}
    given["chances"] = None
    return TrainImages(store, masks, store.train * 10, **given | fields)


def shown(source: TrainImages, epoch: int, start: int = 0) -> list[tuple[list[int], bytes]]:
    return [(numbers.tolist(), pixels.numpy().tobytes()) for pixels, numbers, _ in source.load(epoch, start, False)]


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


class Darken:
    """Darkens an image, and turns it with its mask."""

    def __call__(self, image: Pixels, seed: int) -> Pixels:
        return np.rot90(image // np.uint8(seed % 7 + 1), seed)

    def pair(self, image: Pixels, mask: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        return self(image, seed), np.rot90(mask, seed)


def test_on_the_fly_views_depend_on_seed_epoch_and_id_alone(store: Store) -> None:
    fly = images(replace(store, augmented=None, count=0), transform=Darken())
    numbers = np.arange(len(store.train))
    first, _ = fly.read(0, numbers)
    assert (fly.read(0, numbers[::-1])[0][::-1] == first).all()
    assert (fly.read(1, numbers)[0] != first).any()
    assert shown(replace(fly, workers=2), 0) == shown(fly, 0)


@pytest.fixture(scope="module")
def red(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Masks that are the red of their images, so that a pair can be recognised."""
    folder = tmp_path_factory.mktemp("red")
    plain, augmented = (np.ascontiguousarray(np.asarray(array)[..., 0]) for array in (store.plain, store.augmented))
    return replace(store, plain=keep(folder / "plain.npy", plain), augmented=keep(folder / "augmented.npy", augmented))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mask_is_seen_in_the_view_of_its_image(store: Store, red: Store, workers: int) -> None:
    source = images(store, red, chances=np.ones(11), workers=workers)
    for pixels, _, masks in source.load(3, 0, False):
        assert masks is not None
        assert masks.dtype == torch.uint8
        assert torch.equal(masks, pixels[..., 0])
    whole = [batch.masks for batch in images(store, red).load(0, 0, False)]
    share = [batch.masks for batch in images(store, red, share=1, shares=2).load(0, 0, False)]
    assert all(torch.equal(mine[2:], own) for mine, own in zip(whole, share, strict=True))  # type: ignore[index,arg-type]


def test_a_mask_moves_with_its_image_on_the_fly(store: Store, red: Store) -> None:
    bare = {"augmented": None, "count": 0}
    fly = images(replace(store, **bare), replace(red, **bare), transform=Darken())
    alone = images(replace(store, **bare), transform=Darken())
    numbers = np.arange(len(store.train))
    seen = set()
    for epoch in range(3):
        pixels, masks = fly.read(epoch, numbers)
        assert (pixels == alone.read(epoch, numbers)[0]).all()
        assert masks is not None
        for image, mask in zip(pixels, masks, strict=True):
            factor = [part for part in range(1, 8) if (mask // np.uint8(part) == image[..., 0]).all()]
            assert factor
            seen.add(factor[0])
    assert len(seen) > 3


def test_balanced_batches_hold_the_rare_class(store: Store) -> None:
    targets = np.array([0] * 10 + [1])
    source = images(store, chances=balance(targets), batch=5)
    numbers = [number for epoch in range(100) for batch, _ in shown(source, epoch) for number in batch]
    assert len(numbers) == 1000
    assert targets[numbers].mean() == pytest.approx(0.5, abs=0.05)
    assert shown(source, 2, 1) == shown(source, 2)[1:]


def test_an_image_drawn_twice_is_seen_in_two_views(store: Store) -> None:
    source = images(store, chances=np.array([1e6] + [1.0] * 10), batch=11)
    pixels = [view.tobytes() for batch in source.load(0, 0, False) for view in batch.images.numpy()]
    assert len(set(pixels)) == store.count + 1
    shares = [images(store, chances=source.chances, batch=10, share=share, shares=2) for share in (0, 1)]
    parts = [[numbers for numbers, _ in shown(part, 0)] for part in shares]
    whole = [numbers for numbers, _ in shown(images(store, chances=source.chances, batch=10), 0)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


def test_rows_are_read_without_mapping_the_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, views = np.arange(11), np.arange(11) % 4
    wanted = store.read_train(numbers, views)
    mapped: list[Any] = []
    getitem = np.memmap.__getitem__
    monkeypatch.setattr(np.memmap, "__getitem__", lambda array, key: mapped.append(key) or getitem(array, key))
    assert (store.read_train(numbers, views) == wanted).all()
    assert mapped == []


def test_a_file_that_was_cut_is_told(store: Store, tmp_path: Path) -> None:
    copy = keep(tmp_path / "plain.npy", np.asarray(store.plain))
    os.truncate(copy.files[0], copy.offset + 10)
    with pytest.raises(EOFError, match=r"of-00010.npy ends within row 2"):
        copy.read(np.array([2]))
