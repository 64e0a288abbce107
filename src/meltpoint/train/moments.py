"""Mean and standard deviation of what a head standardises, over the training images, in small pieces."""

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from meltpoint.model.standardise import Standardise
from meltpoint.progress import track
from meltpoint.train.batches import Integers, Store

BLOCK_BYTES = 4_000_000  # of features read at once: few calls, and few pages of the files in memory
LONG = 2e9  # bytes of features that take a while

Moments = tuple[Tensor, Tensor]  # mean and standard deviation, each float32 (D,)


def part_at_standardise(head: nn.Module) -> tuple[nn.Sequential, Standardise]:
    """The layers of a head before the one that standardises, and that one."""
    assert isinstance(head, nn.Sequential), "every kind of head is built as one"
    place = next(index for index, layer in enumerate(head) if isinstance(layer, Standardise))
    layer = head[place]
    assert isinstance(layer, Standardise)
    return head[:place], layer


def measure_moments(store: Store, rows: Integers, before: nn.Sequential) -> Moments:
    """Moments of what the layers `before` make of some rows' features, in one pass, in float64."""
    pieces = list(cut(rows, max(1, BLOCK_BYTES // row_bytes(store))))
    bar = track(pieces, "moments", unit="piece") if len(before) or len(rows) * row_bytes(store) > LONG else pieces

    def read(piece: Integers) -> Tensor:
        with torch.no_grad():
            return cast(Tensor, before(torch.from_numpy(store.read_plain(piece))))

    return join_moments(map(read, bar))


def join_moments(pieces: Iterable[Tensor]) -> Moments:
    """Moments of features float (n, D), or of each channel of maps (n, D, h, w) over images and cells, in float64.

    Pieces are joined as in Chan, Golub and LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (Stanford, STAN-CS-79-773, 1979).
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for piece in pieces:
        values = piece.cpu().movedim(1, -1).flatten(0, -2).double().numpy()  # (n, D); of maps n counts cells
        total, own = count + len(values), values.mean(0)
        squares = squares + np.square(values - own).sum(0) + np.square(own - mean) * (count * len(values) / total)
        mean, count = mean + (own - mean) * (len(values) / total), total
    return torch.from_numpy(mean).float(), torch.from_numpy(np.sqrt(squares / count)).float()


def cut(rows: Integers, size: int) -> Iterator[Integers]:
    """Row numbers in pieces of `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def row_bytes(store: Store) -> int:
    """How much the features of one image are."""
    return int(np.load(store.plain, mmap_mode="r")[0].nbytes)
