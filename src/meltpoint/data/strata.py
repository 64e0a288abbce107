"""Parts groups of images by shares so that every class, and every frequent combination of classes, keeps its share."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.tables import Classes, mask_column, memberships

Integers = NDArray[np.int64]
Shares = NDArray[np.float64]  # (S,), sums to 1


def combine_labels(samples: pd.DataFrame, classes: Classes) -> tuple[Integers, Integers]:
    """Class codes (N, L), a missing label being a class of its own, and codes of their combinations (N,).

    A label of masks has a column for each class, 0 where an image shows it, and -1, no stratum, where it does not.
    """
    columns = []
    for label, names in classes.items():
        if mask_column(label) in samples:
            columns += list(memberships(samples, label, names).T.astype(np.int64) - 1)
        else:
            known = pd.Categorical(samples[label], categories=names).codes.astype(np.int64)
            columns.append(np.where(known < 0, len(names), known))
    codes = np.stack(columns, axis=1)
    _, combined = np.unique(codes, axis=0, return_inverse=True)
    return codes, combined.reshape(-1).astype(np.int64)


def part_groups(codes: Integers, combined: Integers, groups: Integers, shares: Shares) -> Integers:
    """The part of each group, int64 (G,): large groups first, each where its classes are needed most.

    After Sechidis et al., On the Stratification of Multi-Label Data (2011), with groups in place of single images.
    `codes` (N, L) and `combined` (N,) are of the images, `groups` (N,) their groups 0..G-1. A combination too rare for
    every part to get an image of it is left to its single classes. Equal groups come in the order of their numbers.
    """
    strata, total = _number_strata(codes, combined, shares)
    wanted = _targets(total, shares)
    need, scale = wanted.copy(), np.maximum(wanted, 0.5)
    owner, column, counts = _count_members(strata, groups, len(total))
    starts = np.searchsorted(owner, np.arange(owner[-1] + 2))
    rarest = np.minimum.reduceat(total[column], starts[:-1])
    parts = np.zeros(len(rarest), dtype=np.int64)
    for group in np.lexsort((rarest, -np.bincount(groups))):
        inside = slice(starts[group], starts[group + 1])
        cells, count = column[inside], counts[inside]
        # what the sum of (images - wanted)^2 / wanted falls by when the group goes to a part
        gain = (count * (2 * need[:, cells] - count) / scale[:, cells]).sum(axis=1)
        parts[group] = np.argmax(np.where(shares > 0, gain, -np.inf))
        need[parts[group], cells] -= count
    members = [column[starts[group] : starts[group + 1]] for group in range(len(parts))]
    _fill_gaps(parts, members, np.bincount(groups), shares, len(total))
    return parts


def part_plainly(combined: Integers, shares: Shares, random: np.random.Generator) -> Integers:
    """The part of each image, int64 (N,), by a stratified random split that knows of no groups."""
    order = np.lexsort((random.random(len(combined)), combined))
    sizes = np.bincount(combined)
    rank = np.arange(len(combined)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (rank + np.repeat(random.random(len(sizes)), sizes)) / np.repeat(sizes, sizes)
    parts = np.empty(len(combined), dtype=np.int64)
    parts[order] = np.minimum(np.searchsorted(np.cumsum(shares), place, side="right"), len(shares) - 1)
    return parts


def _number_strata(codes: Integers, combined: Integers, shares: Shares) -> tuple[Integers, Integers]:
    """Strata of each image (N, 2 + L): everything, its class of each label, its combination or -1; their sizes (K,)."""
    columns = [np.zeros(len(codes), dtype=np.int64), *codes.T, combined]
    sizes = [np.bincount(column[column >= 0], minlength=1) for column in columns]
    offsets = np.cumsum([0, *(len(size) for size in sizes[:-1])])
    placed = [np.where(column < 0, -1, column + offset) for column, offset in zip(columns, offsets, strict=True)]
    strata = np.stack(placed, axis=1)
    frequent = sizes[-1] * shares[shares > 0].min() >= 1
    strata[~frequent[combined], -1] = -1
    return strata, np.concatenate(sizes).astype(np.int64)


def _fill_gaps(parts: Integers, members: list[Integers], sizes: Integers, shares: Shares, n_strata: int) -> None:
    """Move, in place, the smallest group that can be spared to each part that lacks a stratum, where there is one."""
    held = np.zeros((len(shares), n_strata), dtype=np.int64)  # groups of each part that have images of a stratum
    for group, strata in enumerate(members):
        held[parts[group], strata] += 1
    for part, stratum in np.argwhere((held == 0) & (shares > 0)[:, None] & (held.sum(axis=0) > 1)):
        spared = [
            group
            for group, strata in enumerate(members)
            if held[part, stratum] == 0 and stratum in strata and (held[parts[group], strata] > 1).all()
        ]
        if spared:
            group = min(spared, key=lambda one: (int(sizes[one]), one))
            held[parts[group], members[group]] -= 1
            held[part, members[group]] += 1
            parts[group] = part


def _count_members(strata: Integers, groups: Integers, n_strata: int) -> tuple[Integers, Integers, Integers]:
    """How many images of each group are in each stratum: group, stratum and count of the cells that have any."""
    inside = strata >= 0
    cells = (groups[:, None] * n_strata + strata)[inside]
    cells, counts = np.unique(cells, return_counts=True)
    owner, column = np.divmod(cells, n_strata)
    return owner, column, counts


def _targets(total: Integers, shares: Shares) -> NDArray[np.float64]:
    """Images wanted of each stratum in each part (S, K): its share and at least one, at the largest part's cost."""
    wanted = np.where(shares[:, None] > 0, np.maximum(shares[:, None] * total, np.minimum(total, 1)), 0.0)
    wanted[np.argmax(shares)] -= wanted.sum(axis=0) - total
    return wanted
