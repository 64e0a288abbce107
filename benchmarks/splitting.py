"""How many images change their split when others come or go, and how well splits keep their shares.

  python benchmarks/splitting.py                 the tables of docs/splitting.md (a few minutes)
  python benchmarks/splitting.py --draws 5       the same, rougher and sooner
  python benchmarks/splitting.py scale           one of them
  python benchmarks/splitting.py duplicates      that of the search for near-duplicates

Images of known classes and groups are drawn; what is split is what the split stage gets, and by its function.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.data.hash_pairs import close_pairs, compare_all
from meltpoint.data.hash_tables import propose
from meltpoint.data.perceptual_hash import Hashes, turn_hashes
from meltpoint.data.split import split_samples
from meltpoint.duplicate import TURNS
from meltpoint.params.read import read_params
from meltpoint.registry.rescoring import seen_by
from meltpoint.tables import SPLITS, check_samples
from reporting import print_tables

SPLIT = read_params(Path(__file__).parents[1] / "presets" / "elpv.yaml").split
SHARES = np.array([SPLIT.ratios.train, SPLIT.ratios.val, SPLIT.ratios.test])
LIMIT, APART = SPLIT.duplicates.hash_distance, (16, 32, 48, 64, 88)  # bits
BLOCKS = 256  # of hashes, each compared with all behind it
CHANGES = (0.0, 0.01, 0.1)  # of the images come or go; 0 stands for one


@dataclass(frozen=True)
class World:
    """So many images of so many classes, the largest `uneven` times the smallest, in groups of about `size`."""

    images: int
    classes: int
    uneven: float
    size: int

    def __str__(self) -> str:
        """A row's first cells."""
        return f"| {self.images:,} | {self.classes}, {self.uneven:g}:1 | {self.size}"

    def draw(self, seed: int) -> pd.DataFrame:
        """A table of samples of all these images."""
        random, count = np.random.default_rng(seed), self.images
        prior = np.geomspace(1, 1 / self.uneven, self.classes)
        groups = -(-count // self.size)
        kinds = random.choice(self.classes, groups, p=prior / prior.sum())
        group = np.arange(count) // self.size if self.size == 1 else random.integers(0, groups, count)
        same = kinds[group]
        own = np.where(random.random(count) < 0.8, same, random.choice(self.classes, count, p=prior / prior.sum()))
        table = {
            "id": np.arange(count),
            "path": [f"{number:07d}.png" for number in range(count)],
            "kind": np.array(self.names)[own],
            "group": [f"{number}" for number in group] if self.size > 1 else None,
            "split": None,
            "width": 8,
            "height": 8,
            "sha256": [f"{seed:032x}{number:032x}" for number in range(count)],
        }
        return check_samples(pd.DataFrame(table), {"kind": self.names})

    @property
    def names(self) -> list[str]:
        """Of its classes."""
        return [f"c{number:04d}" for number in range(self.classes)]

    def split(self, samples: pd.DataFrame, seed: int = 7) -> pd.DataFrame:
        """The table with its splits."""
        return split_samples(samples, {"kind": self.names}, [], SPLIT.model_copy(update={"seed": seed})).samples


WORLDS = (
    World(655, 2, 1, 1),
    World(2624, 2, 3, 1),
    World(2624, 2, 3, 5),
    World(2624, 10, 10, 1),
    World(2624, 82, 1, 1),
    World(20_000, 100, 10, 3),
)


def moving_table(draws: int) -> Iterator[str]:
    """Images that change their split when some of all come or go, in the mean and at worst."""
    yield "| images | classes, largest to smallest | in groups of | come or go | change their split | at worst |"
    yield "|---|---|---|---|---|---|"
    for world in WORLDS:
        for part in CHANGES:
            found = [_moved(world, seed, part) for seed in range(draws)]
            told = "1 image" if part == 0 else f"{part:.0%}"
            yield f"{world} | {told} | {np.mean(found):.2%} | {np.max(found):.2%} |"


def shares_table(draws: int) -> Iterator[str]:
    """How far the splits are from their shares, at worst over splits and draws: of all images, and of each class."""
    yield "| images | classes, largest to smallest | in groups of | all images, points | a class, images |"
    yield "|---|---|---|---|---|"
    for world in WORLDS:
        whole, classes = zip(*(_off(world, seed) for seed in range(draws)), strict=True)
        yield f"{world} | {max(whole):.2f} | {max(classes):.1f} |"


def scale_table(draws: int) -> Iterator[str]:  # noqa: ARG001 - one is enough of so many
    """Seconds of a million images."""
    world = World(1_000_000, 1000, 10, 3)
    samples = world.draw(0)
    start = time.perf_counter()
    today = world.split(samples)
    split = time.perf_counter() - start
    trained = pd.DataFrame({"sha256": today["sha256"][today["split"] != "test"], "group": pd.NA})
    start = time.perf_counter()
    seen = seen_by(trained, today)
    yield "| images | classes | splitting | finding what a model has seen of test |"
    yield "|---|---|---|---|"
    yield f"| 1,000,000 in groups of 3 | 1,000 | {split:.0f} s | {time.perf_counter() - start:.1f} s |"
    assert not seen.any()


def duplicates_table(draws: int) -> Iterator[str]:  # noqa: ARG001 - one is enough of so many
    """CPU seconds of comparing hashes in eight turns, and the share that is found of pairs so many bits apart.

    Of all with all up to 256 blocks are measured, and the others taken to cost the same.
    """
    apart = " | ".join(f"{bits} bits" for bits in APART)
    yield f"| hashes | all with all | measured of that | 64 tables | {apart} |"
    yield "|---|---|---|---|" + "---|" * len(APART)
    for count in (10_000, 100_000, 1_000_000):
        words, planted = _hashes(count)
        start = time.process_time()
        parts, blocks = compare_all(words)
        once = time.process_time() - start
        some = [blocks[number] for number in np.linspace(0, len(blocks) - 1, min(len(blocks), BLOCKS)).astype(int)]
        start = time.process_time()
        for block in some:
            list(close_pairs(words, parts, block, LIMIT))
        whole = once + (time.process_time() - start) / len(some) * len(blocks)
        found = np.zeros(count, dtype=bool)  # planted pairs are (2n, 2n + 1)
        start = time.process_time()
        for turn, first, second, _ in propose(words, LIMIT, 64):
            found[first[(turn == 0) & (second == first + 1) & (first % 2 == 0)]] = True
        tables = time.process_time() - start
        shares = [f"{found[::2][planted == bits].mean():.1%}" for bits in APART]
        measured = f"{len(some) / len(blocks):.1%}"
        yield f"| {count:,} | {whole:,.1f} s | {measured} | {tables:,.0f} s | " + " | ".join(shares) + " |"


def _hashes(count: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Random hashes (8, 4, N) under each turn, in pairs that are some bits apart, (N / 2,), as they are."""
    random = np.random.default_rng(0)
    words = np.empty((len(TURNS), 4, count), dtype=np.uint64)
    planted = random.choice(APART, count // 2)
    for start in range(0, count // 2, 10_000):
        apart = planted[start : start + 10_000, None]
        bits = np.repeat(random.random((len(apart), 256)) < 0.5, 2, axis=0)
        bits[1::2] ^= random.random((len(apart), 256)).argsort(axis=1) < apart
        words[:, :, 2 * start : 2 * (start + len(apart))] = turn_hashes(bits.reshape(-1, 16, 16))
    return words, planted


def _moved(world: World, seed: int, part: float) -> float:
    """The share of the images of both tables that are not where they were."""
    whole = world.draw(seed)
    fewer = max(1, round(part * len(whole)))
    kept = np.ones(len(whole), dtype=bool)
    kept[np.random.default_rng(seed).choice(len(whole), fewer, replace=False)] = False
    rest = whole[kept].reset_index(drop=True)
    before = world.split(whole)["split"][kept].to_numpy()
    after = world.split(rest.assign(id=np.arange(len(rest))))["split"].to_numpy()
    return float((before != after).mean())


def _off(world: World, seed: int) -> tuple[float, float]:
    """How far splits are from their shares: in points of all images, and in images of a class."""
    table = world.split(world.draw(seed))
    counts = _counts(table["split"].to_numpy())
    whole = 100 * np.abs(counts / counts.sum() - SHARES).max()
    classes = [_counts(rows["split"].to_numpy()) for _, rows in table.groupby("kind")]
    return float(whole), float(max(np.abs(own - own.sum() * SHARES).max() for own in classes))


def _counts(splits: NDArray[np.object_]) -> NDArray[np.int64]:
    return np.array([(splits == name).sum() for name in SPLITS])


TABLES: dict[str, Callable[[int], Iterator[str]]] = {
    "moving": moving_table,
    "shares": shares_table,
    "scale": scale_table,
    "duplicates": duplicates_table,
}


if __name__ == "__main__":
    print_tables(__doc__, TABLES, 20)
