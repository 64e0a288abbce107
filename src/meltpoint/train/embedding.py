"""Embedding as work in pieces: what an engine needs to do it in other processes, to the same bits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from meltpoint.images.views import AUGMENTED, PLAIN
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import fills_cache, infer, inference_device
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import Reading
from meltpoint.parts import Parts, PartsError, open_parts
from meltpoint.train.features import DTYPES, as_stored

if TYPE_CHECKING:
    import pyarrow as pa

WEIGHTS, PIXELS = "backbone.safetensors", "pixels"  # a file, and the column of a unit
STORES = {"plain": PLAIN, "augmented": AUGMENTED}


@dataclass(frozen=True)
class Piece:
    """Views of a store in a row: the images from `start` to before `stop`."""

    which: str  # plain or augmented
    start: int
    stop: int

    @property
    def text(self) -> str:
        """As an engine is given it."""
        return f"{self.which}:{self.start}:{self.stop}"


@dataclass(frozen=True)
class Embedding:
    """See `Work`: a unit is a batch of views, its results are a column for each tap. `folder` has the weights.

    The folder `views` is read where the work is done, so each machine has to see it at the same place.
    """

    folder: Path
    views: Path
    params: BackboneParams
    taps: tuple[Reading, ...]
    side: int
    batch: int
    threads: int  # of torch, where the work is asked for

    def read(self, piece: str) -> "Iterator[pa.Table]":
        """See `Work`.

        Raises:
            PartsError: the views are not there.
        """
        import pyarrow as pa

        which, start, stop = piece.split(":")
        store = open_parts(self.views / STORES[which])
        if store is None:
            raise PartsError(
                f"There are no views in {self.views} on one of the machines. Each has to see this folder at the same"
                " place, as on a shared disk. Or leave embed.engine out."
            )
        for images in read_batches(store, int(start), int(stop), self.batch):
            yield pa.table({PIXELS: _column(images.numpy())})

    def open(self, folder: Path | None) -> "Callable[[pa.Table], pa.Table]":
        """See `Work`."""
        import pyarrow as pa

        assert folder is not None
        backbone = build_backbone(self.params, self.taps, self.side, pretrained=False)
        backbone.load_state_dict(load_file(folder / WEIGHTS))
        specs, device = backbone.specs, inference_device()
        fast = fuse(backbone).to(device)

        def make(unit: pa.Table) -> pa.Table:
            pixels = np.frombuffer(bytes_of(unit[PIXELS]), np.uint8).reshape(-1, self.side, self.side, 3)
            images = torch.from_numpy(pixels.copy())
            # Sums of several threads may differ in the last bit from those of one; what is cut has one for each part.
            torch.set_num_threads(1 if fills_cache(images) else self.threads)
            found = infer(lambda part: fast(fast.prepare(part)), images, device)
            numbers = {key: values.float().cpu().numpy() for key, values in found.items()}
            return pa.table(
                {key: _column(as_stored(values, key, DTYPES[specs[key].dtype])) for key, values in numbers.items()}
            )

        return make


def pack_backbone(backbone: Backbone, folder: Path, views: Path, batch: int) -> Embedding:
    """The work of a backbone; its weights are written into `folder`."""
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in backbone.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS)
    params = backbone.params.model_copy(update={"mean": list(backbone.mean), "std": list(backbone.std)})
    taps = tuple(backbone.taps.values())
    return Embedding(folder, views.absolute(), params, taps, backbone.size, batch, torch.get_num_threads())


def read_batches(store: Parts, start: int, stop: int, batch: int) -> Iterator[Tensor]:
    """Batches (n, S, S, 3) of the images from `start` to before `stop` of a store (..., S, S, 3)."""
    images = store if len(store.shape) == 4 else store.joined
    for first in range(start, stop, batch):
        yield torch.from_numpy(images[first : min(first + batch, stop)])


def bytes_of(column: "pa.ChunkedArray") -> memoryview:
    """The bytes of a column's rows, one after another."""
    import pyarrow as pa

    rows = pa.concat_arrays(column.chunks)
    width = rows.type.byte_width
    return memoryview(rows.buffers()[1])[rows.offset * width : (rows.offset + len(rows)) * width]


def _column(values: NDArray[np.generic]) -> "pa.FixedSizeBinaryArray":
    """An array (n, ...) as a column: a row's bytes in each cell."""
    import pyarrow as pa

    plain = np.ascontiguousarray(values)
    width = plain.nbytes // len(plain)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(plain), [None, pa.py_buffer(plain)])
