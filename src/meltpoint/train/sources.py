"""Where the probe has its features from: files, or, where these would be too large, the backbone as it goes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from meltpoint.model.backbones import Backbone
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.params.model import Reading
from meltpoint.progress import say, track
from meltpoint.train.batches import Integers, Store
from meltpoint.train.embed import Features
from meltpoint.train.moments import BLOCK_BYTES, Moments, cut, join_moments, measure_moments, row_bytes
from meltpoint.train.problem import Problem

LIVE = 16  # images that the backbone sees at once when moments are measured


class Source(Protocol):
    """Frozen features of the images of a problem."""

    @property
    def at_once(self) -> int:
        """How many images' features are best read at once; 1 where it does not matter."""
        ...

    def read_train(self, numbers: Integers, views: Integers) -> dict[str, Tensor]:
        """Features (B, *spec.shape) for each tap key, of training images by number (B,), each in its view (B,)."""
        ...

    def read_plain(self, rows: Integers) -> dict[str, Tensor]:
        """Features (B, *spec.shape) for each tap key, of rows (B,) of the plain views."""
        ...

    def measure(self, tap: str, rows: Integers, before: nn.Sequential) -> Moments:
        """Moments of what the layers `before` make of a tap's features of some rows' plain views."""
        ...


def open_source(problem: Problem, taps: Mapping[str, Reading], features: Features, backbone: Backbone) -> Source:
    """Features of the taps, by tap key: the stored ones, or those that `backbone` gives."""
    if features.stored:
        stores = {
            key: problem.store(features.plain(tap), features.augmented(tap), features.views)
            for key, tap in taps.items()
        }
        return Stored(stores)
    say("features are not stored: the backbone runs over the images in each epoch of the probe, and for validation")
    device = inference_device()
    return Live(problem.images, fuse(backbone).to(device), device)


@dataclass(frozen=True)
class Stored:
    """Reads features from files."""

    stores: Mapping[str, Store]  # by tap key

    @property
    def at_once(self) -> int:
        """As many as fill a block."""
        return max(1, BLOCK_BYTES // sum(map(row_bytes, self.stores.values())))

    def read_train(self, numbers: Integers, views: Integers) -> dict[str, Tensor]:
        """As Source says."""
        return {key: torch.from_numpy(store.read_train(numbers, views)) for key, store in self.stores.items()}

    def read_plain(self, rows: Integers) -> dict[str, Tensor]:
        """As Source says."""
        return {key: torch.from_numpy(store.read_plain(rows)) for key, store in self.stores.items()}

    def measure(self, tap: str, rows: Integers, before: nn.Sequential) -> Moments:
        """As Source says."""
        return measure_moments(self.stores[tap], rows, before)


@dataclass(frozen=True)
class Live:
    """Runs the backbone over views of the images. Features are rounded as stored ones would be."""

    images: Store
    backbone: Backbone
    device: torch.device

    @property
    def at_once(self) -> int:
        """One: nothing is read ahead."""
        return 1

    def read_train(self, numbers: Integers, views: Integers) -> dict[str, Tensor]:
        """As Source says."""
        return self._run(torch.from_numpy(self.images.read_train(numbers, views)))

    def read_plain(self, rows: Integers) -> dict[str, Tensor]:
        """As Source says."""
        return self._run(torch.from_numpy(self.images.read_plain(rows)))

    def measure(self, tap: str, rows: Integers, before: nn.Sequential) -> Moments:
        """As Source says."""
        pieces = track(list(cut(rows, LIVE)), "moments", unit="piece")
        with torch.no_grad():
            return join_moments(before(self.read_plain(piece)[tap].cpu()) for piece in pieces)

    def _run(self, images: Tensor) -> dict[str, Tensor]:
        backbone, forward = self.backbone, cast(Callable[[Tensor], dict[str, Tensor]], self.backbone)
        features = infer(lambda part: forward(backbone.prepare(part)), images, self.device)
        return {
            key: values.to(getattr(torch, backbone.specs[key].dtype), copy=True) for key, values in features.items()
        }
