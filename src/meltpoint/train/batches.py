"""Which images stand in which batch and in which view: pure functions of seed, epoch and id, so nothing is saved."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meltpoint.arrays import Floats, Ints, Pixels
from meltpoint.parts import Parts

FAR = 2**32  # more epochs than anyone trains
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Batch(NamedTuple):
    """Training images as an epoch shows them."""

    images: Tensor  # uint8 (B, S, S, 3)
    numbers: Tensor  # int64 (B,) among the training images
    masks: Tensor | None  # uint8 (B, S, S), where there are some, moved as the images are

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        masks = None if self.masks is None else self.masks.to(device, non_blocking=True)
        return Batch(self.images.to(device, non_blocking=True), self.numbers.to(device), masks)


class Transform(Protocol):
    """An augmentation: a pure function of an image uint8 (S, S, 3) and a seed."""

    def __call__(self, image: Pixels, seed: int) -> Pixels:
        """The augmented image, of the same shape."""
        ...

    def pair(self, image: Pixels, mask: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """The same with its mask uint8 (S, S), which moves as the image does."""
        ...


def mix(*numbers: int | Ints) -> Ints:
    """A hash of whole numbers or arrays of them, broadcast together: int64, 0 to 2**63 - 1.

    SplitMix64 (Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), one round a number.
    """
    state = np.zeros(1, dtype=np.uint64)  # an array: numpy warns when scalars overflow, and here they should
    for number in numbers:
        state = state + np.asarray(number, dtype=np.int64).astype(np.uint64) + np.uint64(_STEP)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(1)).astype(np.int64)


def mix_one(*numbers: int) -> int:
    """`mix` of plain numbers."""
    return int(mix(*numbers)[0])


def draw_order(seed: int, epoch: int, chances: Floats | int) -> Ints:
    """The numbers int64 (N,) of an epoch's images, in a new order each epoch.

    For a count N each image comes once. For chances (N,) there are N draws, and an image may come often, or not at all.
    """
    rng = np.random.default_rng([seed, epoch])
    if isinstance(chances, int):
        return rng.permutation(chances)
    return rng.choice(len(chances), len(chances), p=chances / chances.sum())


def balance(targets: Ints) -> Floats:
    """Chances (N,) with which each class of targets (N,) is drawn as often; -1, unlabelled, has 1, the mean of all."""
    known = targets >= 0
    counts = np.bincount(targets[known])
    chances = np.ones(len(targets))
    chances[known] = known.sum() / (np.count_nonzero(counts) * counts[targets[known]])
    return chances


def spread_epochs(epoch: int, order: Ints) -> Ints:
    """The epoch as which each place of an order (N,) is shown: an image that comes again comes as in a far one."""
    places = np.argsort(order, kind="stable")
    ranked = order[places]
    turns = np.empty(len(order), np.int64)
    turns[places] = np.arange(len(order)) - np.searchsorted(ranked, ranked)
    return epoch + turns * FAR


def choose_views(seed: int, epoch: int | Ints, ids: Ints, count: int) -> Ints:
    """For each image id (N,) the view an epoch shows: 0 the plain one, 1 to `count` an augmented one, all as likely."""
    return mix(seed, epoch, ids) % (count + 1)


def cut(rows: Ints, size: int) -> Iterator[Ints]:
    """Row numbers in pieces of `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def cut_batches(order: Ints, batch: int) -> list[Ints]:
    """Batches of an epoch's order (N,), the rest that fills no batch left out; a short order makes one batch."""
    size = min(batch, len(order))
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


@dataclass(frozen=True)
class Store:
    """Arrays on disk with a row an image: `plain` (N, ...) and, of the training images, `augmented` (n_train, V, ...).

    `augmented` has the training images in the order of `train`; of a part of them, where their `places` say.
    """

    plain: Parts
    augmented: Parts | None
    count: int  # V
    train: Ints  # rows of the training images in `plain`
    places: Ints  # the same images in `augmented`

    def read_plain(self, rows: Ints) -> NDArray[Any]:
        """Rows (B,) of the plain array, in that order: (B, ...)."""
        return self.plain.read(rows)

    def read_train(self, numbers: Ints, views: Ints) -> NDArray[Any]:
        """Training images by number (B,), each in its view (B,): (B, ...)."""
        result = np.empty((len(numbers), *self.plain.shape[1:]), self.plain.dtype)
        plain, augmented = np.flatnonzero(views == 0), np.flatnonzero(views)
        self.plain.read_into(result, self.train[numbers[plain]], plain)
        if len(augmented):
            assert self.augmented is not None
            rows = self.places[numbers[augmented]] * self.count + views[augmented] - 1
            self.augmented.joined.read_into(result, rows, augmented)
        return result


@dataclass(frozen=True)
class TrainImages:
    """The training images in batches, as epochs show them. `share` of `shares` is this process's part of each batch.

    `masks` has the views that `store` has.
    """

    store: Store
    masks: Store | None
    ids: Ints  # (n_train,)
    seed: int
    batch: int
    transform: Transform | None  # augments the plain view on the fly; None where augmented views are stored
    workers: int
    share: int
    shares: int
    chances: Floats | None  # to be drawn, (n_train,); None: each image once an epoch

    @property
    def batches(self) -> int:
        """Batches an epoch."""
        return max(1, len(self.ids) // self.batch)

    def load(self, epoch: int, start: int, pin: bool) -> Iterator[Batch]:
        """The batches of an epoch from number `start`; `pin` speeds the way to a GPU."""
        order = draw_order(self.seed, epoch, len(self.ids) if self.chances is None else self.chances)
        own = []  # what this process has of each batch: image numbers, and the epochs as which they are shown
        for numbers, epochs in zip(
            cut_batches(order, self.batch), cut_batches(spread_epochs(epoch, order), self.batch), strict=True
        ):
            size = len(numbers) // self.shares
            part = slice(self.share * size, (self.share + 1) * size)
            own.append((numbers[part], epochs[part]))
        loader: DataLoader[Batch] = DataLoader(
            cast("Dataset[Any]", own[start:]),
            batch_size=None,
            collate_fn=self._show,
            num_workers=min(self.workers, len(own) - start, os.cpu_count() or 1),
            pin_memory=pin,
        )
        return iter(loader)

    def _show(self, batch: Any) -> Batch:
        numbers, epochs = batch
        images, masks = self.read(epochs, numbers)
        moved = None if masks is None else torch.from_numpy(masks)
        return Batch(torch.from_numpy(images), torch.from_numpy(numbers), moved)

    def read(self, epoch: int | Ints, numbers: Ints) -> tuple[Pixels, Pixels | None]:
        """Training images by number (B,) as an epoch, or each its own, shows them: uint8 (B, S, S, 3), and masks."""
        ids = self.ids[numbers]
        if self.transform is None:
            views = choose_views(self.seed, epoch, ids, self.store.count)
            masks = None if self.masks is None else self.masks.read_train(numbers, views)
            return self.store.read_train(numbers, views), masks
        rows, seeds = self.store.train[numbers], mix(self.seed, epoch, ids).tolist()
        images: Pixels = self.store.read_plain(rows)
        if self.masks is None:
            return np.stack([self.transform(*shown) for shown in zip(images, seeds, strict=True)]), None
        pairs = [self.transform.pair(*shown) for shown in zip(images, self.masks.read_plain(rows), seeds, strict=True)]
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])
