"""Where the probe gets its features from: files, or, where these would be too large, the backbone as it runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from meltpoint.arrays import Ints, Pixels
from meltpoint.model.backbones import Backbone
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.standardise import Standardise
from meltpoint.params.model import Reading
from meltpoint.progress import track
from meltpoint.terminal import say
from meltpoint.train.batches import Store, cut
from meltpoint.train.features import Features
from meltpoint.train.problem import Problem

BLOCK_BYTES = 4_000_000  # of features read at once: few calls, and few pages of the files in memory
LONG = 2e9  # bytes of features that take a while
LIVE = 16  # images that the backbone sees at once when mean and deviation are measured

MeanStd = tuple[Tensor, Tensor]  # mean and standard deviation, each float32 (D,)


@dataclass(frozen=True)
class StoredFeatures:
    """Frozen features of the images of a problem, from files."""

    stores: Mapping[str, Store]  # by tap key

    @property
    def at_once(self) -> int:
        """How many images' features are best read at once: as many as fill a block."""
        return max(1, BLOCK_BYTES // sum(store.plain.row_bytes for store in self.stores.values()))

    def read_train(self, numbers: Ints, views: Ints) -> dict[str, Tensor]:
        """Features (B, *spec.shape) for each tap key, of training images by number (B,), each in its view (B,)."""
        return {key: torch.from_numpy(store.read_train(numbers, views)) for key, store in self.stores.items()}

    def read_plain(self, rows: Ints) -> dict[str, Tensor]:
        """Features (B, *spec.shape) for each tap key, of rows (B,) of the plain views."""
        return {key: torch.from_numpy(store.read_plain(rows)) for key, store in self.stores.items()}

    def measure(self, tap: str, rows: Ints, before: nn.Sequential) -> MeanStd:
        """Mean and deviation of what the layers `before` make of a tap's features of some rows' plain views.

        It reads only this tap.
        """
        store = self.stores[tap]
        pieces = list(cut(rows, max(1, BLOCK_BYTES // store.plain.row_bytes)))
        is_long = len(before) > 0 or len(rows) * store.plain.row_bytes > LONG
        with torch.no_grad():
            return join_statistics(
                before(torch.from_numpy(store.read_plain(piece)))
                for piece in (track(pieces, "mean and deviation", unit="piece") if is_long else pieces)
            )


@dataclass(frozen=True)
class LiveFeatures:
    """The same, but the backbone runs over views of the images. Features are rounded as stored ones would be."""

    images: Store
    backbone: Backbone
    device: torch.device
    at_once: int = 1  # nothing is read ahead

    def read_train(self, numbers: Ints, views: Ints) -> dict[str, Tensor]:
        """As StoredFeatures."""
        return self._run(self.images.read_train(numbers, views))

    def read_plain(self, rows: Ints) -> dict[str, Tensor]:
        """As StoredFeatures."""
        return self._run(self.images.read_plain(rows))

    def measure(self, tap: str, rows: Ints, before: nn.Sequential) -> MeanStd:
        """As StoredFeatures."""
        pieces = track(list(cut(rows, LIVE)), "mean and deviation", unit="piece")
        with torch.no_grad():
            return join_statistics(before(self.read_plain(piece)[tap].cpu()) for piece in pieces)

    def _run(self, images: Pixels) -> dict[str, Tensor]:
        backbone, forward = self.backbone, cast(Callable[[Tensor], dict[str, Tensor]], self.backbone)
        features = infer(lambda part: forward(backbone.prepare(part)), torch.from_numpy(images), self.device)
        return {
            key: values.to(getattr(torch, backbone.specs[key].dtype), copy=True) for key, values in features.items()
        }


FeatureSource = StoredFeatures | LiveFeatures


def open_source(problem: Problem, taps: Mapping[str, Reading], features: Features, backbone: Backbone) -> FeatureSource:
    """Features of the taps, by tap key: the stored ones, or those that `backbone` gives."""
    if features.stored:
        rows, places = problem.train.rows, problem.train.places
        stores = {
            key: Store(features.plain(tap), features.augmented(tap), features.views, rows, places)
            for key, tap in taps.items()
        }
        return StoredFeatures(stores)
    say("features are not stored: the backbone runs over the images in each epoch of the probe, and for validation")
    device = inference_device()
    return LiveFeatures(problem.images, fuse(backbone).to(device), device)


def part_at_standardise(head: nn.Module) -> tuple[nn.Sequential, Standardise]:
    """The layers of a head before the one that standardises, and that one."""
    assert isinstance(head, nn.Sequential), "every kind of head is built as one"
    place = next(index for index, layer in enumerate(head) if isinstance(layer, Standardise))
    layer = head[place]
    assert isinstance(layer, Standardise)
    return head[:place], layer


def join_statistics(pieces: Iterable[Tensor]) -> MeanStd:
    """Mean and deviation of features float (n, D), or of each channel of maps (n, D, h, w) over images and cells.

    Computed in float64, the pieces joined as in Chan, Golub and LeVeque: Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances (Stanford, STAN-CS-79-773, 1979).
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for piece in pieces:
        values = piece.cpu().movedim(1, -1).flatten(0, -2).double().numpy()  # (n, D); of maps n counts cells
        total, own = count + len(values), values.mean(0)
        squares = squares + np.square(values - own).sum(0) + np.square(own - mean) * (count * len(values) / total)
        mean, count = mean + (own - mean) * (len(values) / total), total
    return torch.from_numpy(mean).float(), torch.from_numpy(np.sqrt(squares / count)).float()
