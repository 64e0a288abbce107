"""What each part of a dataset is to have its share of: every class, and every frequent combination of classes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Ints
from meltpoint.tables import Classes, memberships, shows_several

Shares = NDArray[np.float64]  # (S,), sums to 1


def combine_labels(samples: pd.DataFrame, classes: Classes) -> tuple[Ints, Ints]:
    """Class codes (N, L), a missing label being a class of its own, and codes of their combinations (N,).

    A label of masks or tags has a column for each class, 0 where an image shows it, and -1, no stratum, where it does
    not: so each tag is parted by itself, the rarest first (Sechidis et al., ECML PKDD 2011).
    """
    columns = []
    for label, names in classes.items():
        if shows_several(samples, label):
            columns += list(memberships(samples, label, names).T.astype(np.int64) - 1)
        else:
            known = pd.Categorical(samples[label], categories=names).codes.astype(np.int64)
            columns.append(np.where(known < 0, len(names), known))
    codes = np.stack(columns, axis=1)
    _, combined = np.unique(codes, axis=0, return_inverse=True)
    return codes, combined.reshape(-1).astype(np.int64)


def part_plainly(combined: Ints, shares: Shares, random: np.random.Generator) -> Ints:
    """The part of each image, int64 (N,), by a stratified random split that knows of no groups."""
    order = np.lexsort((random.random(len(combined)), combined))
    sizes = np.bincount(combined)
    rank = np.arange(len(combined)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (rank + np.repeat(random.random(len(sizes)), sizes)) / np.repeat(sizes, sizes)
    parts = np.empty(len(combined), dtype=np.int64)
    parts[order] = np.minimum(np.searchsorted(np.cumsum(shares), place, side="right"), len(shares) - 1)
    return parts


@dataclass(frozen=True)
class Strata:
    """Sets of groups that each part is to have its share of: everything, each class, each frequent combination.

    Sets overlap: a group is in several, with a number of images in each. These cells are listed by group: `owner`,
    `column` (its stratum) and `count` (images) (M,), from `starts` (G + 1,) on. Of each stratum `kind` (K,) is 0 for
    everything, 1 for a class, 2 for a combination, and `total` (K,) its images.
    """

    owner: Ints
    column: Ints
    count: Ints
    starts: Ints
    kind: Ints
    total: Ints
    sizes: Ints  # (G,) images of each group

    def cells_of(self, group: int) -> slice:
        """The cells of a group."""
        return slice(int(self.starts[group]), int(self.starts[group + 1]))

    @cached_property
    def members(self) -> list[tuple[Ints, Ints]]:
        """Of each stratum its groups, in the order of their numbers, and how many images of it each has."""
        order = np.argsort(self.column, kind="stable")
        ends = np.searchsorted(self.column[order], np.arange(1, len(self.total)))
        return [(self.owner[cells], self.count[cells]) for cells in np.split(order, ends)]

    @property
    def finest_first(self) -> list[int]:
        """The strata that have images: combinations, classes, everything; the small before the large."""
        alive = np.unique(self.column)
        return [int(one) for one in alive[np.lexsort((alive, self.total[alive], -self.kind[alive]))]]

    def targets(self, shares: Shares) -> NDArray[np.float64]:
        """Images wanted of each stratum in each part (S, K): its share and at least one, at the largest's cost."""
        some = np.minimum(self.total, 1)
        wanted = np.where(shares[:, None] > 0, np.maximum(shares[:, None] * self.total, some), 0.0)
        wanted[np.argmax(shares)] -= wanted.sum(axis=0) - self.total
        return wanted


def build_strata(codes: Ints, combined: Ints, groups: Ints, shares: Shares) -> Strata:
    """The strata of groups 0..G-1 of images: `codes` (N, L) and `combined` (N,) of `combine_labels`, `groups` (N,).

    A combination too rare for every part to get an image of it is left to its single classes.
    """
    columns = [np.zeros(len(codes), dtype=np.int64), *codes.T, combined]
    sizes = [np.bincount(column[column >= 0], minlength=1) for column in columns]
    offsets = np.cumsum([0, *(len(size) for size in sizes[:-1])])
    placed = [np.where(column < 0, -1, column + offset) for column, offset in zip(columns, offsets, strict=True)]
    strata, total = np.stack(placed, axis=1), np.concatenate(sizes).astype(np.int64)
    frequent = sizes[-1] * shares[shares > 0].min() >= 1
    strata[~frequent[combined], -1] = -1
    inside = strata >= 0
    cells, counts = np.unique((groups[:, None] * len(total) + strata)[inside], return_counts=True)
    owner, column = np.divmod(cells, len(total))
    starts = np.searchsorted(owner, np.arange(owner[-1] + 2)).astype(np.int64)
    kind = np.repeat([0, *[1] * codes.shape[1], 2], [len(size) for size in sizes]).astype(np.int64)
    return Strata(owner, column, counts.astype(np.int64), starts, kind, total, np.bincount(groups).astype(np.int64))
