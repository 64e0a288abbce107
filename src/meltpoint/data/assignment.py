"""Assigns groups to parts at random, then moves the fewest groups that bring every class within its bounds."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Floats, Ints
from meltpoint.data.strata import Shares, Strata

# How far a part may be from its share of a stratum, in standard deviations of a draw without strata.
OF_ALL, OF_CLASS, OF_COMBINATION = 0.5, 1.0, 2.0
LEAST_ROOM = 1.0  # images; less is not always possible, as counts are whole numbers
SLACK = 1e-9
LOOKED_AT = 256  # groups at first, then twice as many, and so on


def assign(strata: Strata, shares: Shares, draws: Floats) -> Ints:
    """The part of each group, int64 (G,): that in which its draw falls, but for the few moved to keep the bounds.

    `draws` (G,) are in 0..1, and each is of its group alone. So a group changes its part only where a stratum that it
    is in leaves its bounds, or comes back, when other groups come or go; and of a stratum those groups move first whose
    draws are nearest to the border of the part that lacks images. Finer strata are settled first, so a rare class may
    be an image further off than its own bounds where those do not let go. Every part that has a share gets an image of
    every class that has as many groups, where the other bounds allow it (`_fill_gaps` sees to the rest).
    """
    ends = np.cumsum(shares[::-1])[::-1]  # of the parts' intervals: the last part's begins at 0, the first's ends at 1
    reached = np.minimum(np.searchsorted(ends[::-1], draws, side="right"), np.flatnonzero(shares[::-1] > 0)[-1])
    parts = np.asarray(len(shares) - 1 - reached, dtype=np.int64)
    # How far each draw is from each part's interval (G, S), on a circle: the last part's lies beside the first's.
    away = np.stack([np.abs(draws[:, None] - border) for border in (ends - shares, ends)])
    distance = np.minimum(away, 1 - away).min(axis=0)
    ledger = _open_ledger(strata, shares, parts, distance * strata.sizes[:, None])
    for stratum in strata.finest_first:
        _settle(strata, ledger, stratum)
        ledger.settled[stratum] = True
    _fill_gaps(strata, shares, ledger)
    return ledger.parts


@dataclass(frozen=True)
class _Ledger:
    """Which group is in which part, and what is allowed; parts S, strata K, groups G.

    `held` (S, K) are images, `groups` (S, K) groups of a stratum in a part; `least` and `most` (S, K) bound `held`,
    `wanted` (S, K) are the shares; `distance` (G, S) of a draw from a part; strata that are `settled` (K,) must not be
    brought out of their bounds any more.
    """

    parts: Ints
    held: Floats
    groups: Ints
    wanted: Floats
    least: Floats
    most: Floats
    distance: Floats
    settled: NDArray[np.bool_] = field(repr=False)

    def excess(self, stratum: int, held: Floats) -> float:
        """Images by which counts (S,) of a stratum are out of its bounds."""
        over = np.maximum(0.0, held - self.most[:, stratum]) + np.maximum(0.0, self.least[:, stratum] - held)
        return float(over.sum())

    def allows(self, strata: Strata, group: int, start: int, end: int) -> bool:
        """Whether no settled stratum is out of its bounds if a group goes from the part `start` to `end`."""
        cells = strata.cells_of(group)
        columns = strata.column[cells]
        count = np.where(self.settled[columns], strata.count[cells], 0)
        given, taken = self.held[start, columns] - count, self.held[end, columns] + count
        low, high = given < self.least[start, columns] - SLACK, taken > self.most[end, columns] + SLACK
        return not bool(((low | high) & (count > 0)).any())

    def move(self, strata: Strata, group: int, end: int) -> None:
        """Move a group to the part `end`."""
        cells = strata.cells_of(group)
        columns, count, start = strata.column[cells], strata.count[cells], self.parts[group]
        self.held[start, columns] -= count
        self.held[end, columns] += count
        self.groups[start, columns] -= 1
        self.groups[end, columns] += 1
        self.parts[group] = end


def _open_ledger(strata: Strata, shares: Shares, parts: Ints, distance: Floats) -> _Ledger:
    shape = (len(shares), len(strata.total))
    held, groups = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    np.add.at(held, (parts[strata.owner], strata.column), strata.count)
    np.add.at(groups, (parts[strata.owner], strata.column), 1)
    wanted = strata.targets(shares)
    squares = np.bincount(strata.column, strata.count.astype(np.float64) ** 2, minlength=shape[1])
    deviation = np.sqrt((shares * (1 - shares))[:, None] * squares)
    room = np.maximum(LEAST_ROOM, np.array([OF_ALL, OF_CLASS, OF_COMBINATION])[strata.kind] * deviation)
    room = np.where(shares[:, None] > 0, room, 0.0)
    enough = (strata.kind < 2) & (groups.sum(axis=0) >= (shares > 0).sum())
    least = np.where(enough, np.maximum(wanted - room, np.minimum(wanted, 1.0)), wanted - room)
    settled = np.zeros(shape[1], dtype=np.bool_)
    return _Ledger(parts, held, groups, wanted, least, wanted + room, distance, settled)


def _settle(strata: Strata, ledger: _Ledger, stratum: int) -> None:
    """Move groups until a stratum is within its bounds, or none can be moved to bring it nearer to them."""
    members, counts = strata.members[stratum]
    nearest: dict[int, Ints] = {}  # places of the members in other parts by their distance from a part

    def find_move() -> tuple[int, int] | None:
        """A group and its new part: from one with more than its share to one with less, the most uneven pair first."""
        held = ledger.held[:, stratum]
        off, excess = held - ledger.wanted[:, stratum], ledger.excess(stratum, held)
        ways = [(int(start), int(end)) for start in np.flatnonzero(off > 0) for end in np.flatnonzero(off < 0)]
        for start, end in sorted(ways, key=lambda way: float(off[way[1]] - off[way[0]])):
            for place in towards(start, end):
                changed, group = held.copy(), int(members[place])
                changed[[start, end]] += (-counts[place], counts[place])
                if ledger.excess(stratum, changed) < excess - SLACK and ledger.allows(strata, group, start, end):
                    return group, end
        return None

    def towards(start: int, end: int) -> Iterator[int]:
        """Places of the members in the part `start`, the nearest to the part `end` first; few of them are looked at."""
        if end not in nearest:
            others = np.flatnonzero(ledger.parts[members] != end)
            nearest[end] = others[np.argsort(ledger.distance[members[others], end], kind="stable")]
        order, first, more = nearest[end], 0, LOOKED_AT
        while first < len(order):
            places = order[first : first + more]
            yield from places[ledger.parts[members[places]] == start].tolist()
            first, more = first + more, 2 * more

    while ledger.excess(stratum, ledger.held[:, stratum]) > SLACK and (move := find_move()):
        nearest.pop(int(ledger.parts[move[0]]), None)  # which lacks this one: it was in that part
        ledger.move(strata, *move)


def _fill_gaps(strata: Strata, shares: Shares, ledger: _Ledger) -> None:
    """Move the smallest group that can be spared to each part that lacks a class, where there is one."""
    sizes = strata.sizes
    for part, stratum in np.argwhere((ledger.groups == 0) & (shares > 0)[:, None] & (strata.kind < 2)):
        spared = [
            int(group)
            for group in strata.members[stratum][0]
            if ledger.groups[part, stratum] == 0
            and (ledger.groups[ledger.parts[group], strata.column[strata.cells_of(group)]] > 1).all()
        ]
        if spared:
            nearest = min(spared, key=lambda one: (int(sizes[one]), float(ledger.distance[one, part]), one))
            ledger.move(strata, nearest, int(part))
