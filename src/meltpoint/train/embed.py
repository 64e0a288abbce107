"""Frozen features of every stored view, computed once, written in the order they are computed, unless too large."""

import hashlib
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from meltpoint.files import whole_folder, write_json
from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.taps import FeatureSpec
from meltpoint.params.training import Embed
from meltpoint.parts import Parts, Writer, write_parts
from meltpoint.predict.work import Engine, Where, load_engine
from meltpoint.progress import track
from meltpoint.terminal import say
from meltpoint.train.embedding import Piece, bytes_of, pack_backbone, read_batches
from meltpoint.train.features import DTYPES, INDEX, Features, as_stored, file_of, open_features

Files = dict[tuple[str, str], Writer]  # by plain or augmented, and tap key

PIECE = 1024  # images, about, that an engine is given at once: whole batches


def embed(backbone: Backbone, views: Views, settings: Embed, folder: Path) -> Features:
    """Run the backbone once over each stored view; `folder` appears whole or not at all. Memory does not grow with N.

    What would be larger than `settings.max_gb` (of 10**9 bytes) is not written, only its description is.

    Raises:
        FeaturesError: the backbone gives NaN or infinity, or more than a stored number can be.
    """
    stores = _stores(views)
    count, specs = sum(_count(store) for store in stores.values()), backbone.specs
    sizes = {key: np.dtype(spec.dtype).itemsize * count * math.prod(spec.shape) for key, spec in specs.items()}
    total, parts = sum(sizes.values()), ", ".join(f"{size / 1e6:,.1f} MB of tap {key}" for key, size in sizes.items())
    stored = total <= settings.max_gb * 1e9
    if stored:
        say(f"embed: writing {total:,} bytes of features ({parts}); with fewer `copies` of the views there are fewer")
    else:
        say(
            f"embed: writing nothing: {total:,} bytes of features ({parts}) are more than embed.max_gb"
            f" {settings.max_gb:g}. The encoder will run in each epoch. To avoid that, raise max_gb, or give its views"
            " smaller images or fewer `copies`"
        )
    index = {
        "specs": {key: asdict(spec) for key, spec in specs.items()},
        "images": len(views.plain),
        "training": int((views.samples["split"] == "train").sum()),
        "views": 0 if views.augmented is None else views.augmented.shape[1],
        "stored": stored,
        "fingerprint": _fingerprint(backbone, views.fingerprint, stored),
    }
    with whole_folder(folder) as temporary:
        if stored:
            with track(range(0), "embed", total=count) as bar, _opened(temporary, stores, specs) as files:
                if settings.engine is None:
                    _embed_here(backbone, stores, settings.batch, files, bar)
                else:
                    where = Where(settings.address)
                    embed_by(load_engine(settings.engine), where, backbone, views, settings.batch, files, bar)
        write_json(temporary / INDEX, index)
    return open_features(folder)


def _fingerprint(backbone: Backbone, views: str, stored: bool) -> str:
    """sha256 over the views, what the backbone is made of, its weights, those that heads copy, and the taps.

    Whether they are stored counts, too: what a backbone gives of other batches may differ in the last bits.
    """
    params, taps = backbone.params, sorted(backbone.specs)
    made_of = [views, params.name, params.args, backbone.mean, backbone.std, backbone.size, taps, stored]
    made_of += [params.library, params.top] if params.library not in (None, "timm") else []
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
    copied = {
        f"{key}: {name}": value
        for key, parts in backbone.convolutions.items()
        for name, value in parts[0].state_dict().items()
    }
    for name, value in sorted((copied | backbone.state_dict()).items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _opened(folder: Path, stores: Mapping[str, Parts], specs: Mapping[str, FeatureSpec]) -> Iterator[Files]:
    """An array (..., *spec.shape) to be written for each store (..., S, S, 3) and tap."""
    with ExitStack() as stack:
        yield {
            (which, key): stack.enter_context(
                write_parts(file_of(folder, key, which), store.shape[:-3] + spec.shape, DTYPES[spec.dtype])
            )
            for which, store in stores.items()
            for key, spec in specs.items()
        }


def _embed_here(backbone: Backbone, stores: Mapping[str, Parts], batch: int, files: Files, bar: "tqdm[int]") -> None:
    """Batch after batch in this process. An accelerator works on the next one while the last is fetched and written."""
    device = inference_device()
    fast = fuse(backbone).to(device)
    for which, store in stores.items():
        running: dict[str, Tensor] | None = None
        for images in chain(read_batches(store, 0, _count(store), batch), [None]):
            started = None if images is None else infer(lambda part: fast(fast.prepare(part)), images, device)
            for key, values in (running or {}).items():
                numbers = values.float().cpu().numpy()
                files[which, key].write(as_stored(numbers, key, DTYPES[backbone.specs[key].dtype]).tobytes())
            bar.update(len(next(iter(running.values()))) if running else 0)
            running = started


def embed_by(
    engine: Engine, where: Where, backbone: Backbone, views: Views, batch: int, files: Files, bar: "tqdm[int]"
) -> None:
    """The same by an engine: pieces of whole batches, each written to its place whenever it is done.

    Raises:
        EngineError: the engine cannot be had, or its cluster is lost.
    """
    size = max(1, PIECE // batch) * batch
    pieces = [
        Piece(which, start, min(start + size, _count(store)))
        for which, store in _stores(views).items()
        for start in range(0, _count(store), size)
    ]
    with tempfile.TemporaryDirectory() as folder:
        work = pack_backbone(backbone, Path(folder), views.folder, batch)
        texts = {number: [piece.text] for number, piece in enumerate(pieces)}
        for number, table in engine.run(work, texts, where, bar.update):
            piece = pieces[number]
            for key in table.column_names:
                rows = bytes_of(table[key])
                files[piece.which, key].write(rows, piece.start * len(rows) // (piece.stop - piece.start))


def _stores(views: Views) -> dict[str, Parts]:
    return {"plain": views.plain} if views.augmented is None else {"plain": views.plain, "augmented": views.augmented}


def _count(store: Parts) -> int:
    """How many images there are in an array (..., S, S, 3)."""
    return math.prod(store.shape[:-3])
