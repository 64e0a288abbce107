"""Frozen features of every stored view, computed once, written in the order they are computed, unless too large."""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from meltpoint.files import whole_folder, write_json
from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.params.training import Embed
from meltpoint.parts import Parts, write_parts
from meltpoint.progress import track
from meltpoint.terminal import say
from meltpoint.train.features import INDEX, Features, FeaturesError, file_of, open_features

DTYPES = {"float32": "<f4", "float16": "<f2"}  # on disk


def embed(backbone: Backbone, views: Views, settings: Embed, folder: Path) -> Features:
    """Run the backbone once over each stored view; `folder` appears whole or not at all. Memory does not grow with N.

    What would be larger than `settings.max_gb` (of 10**9 bytes) is not written, only its description is.

    Raises:
        FeaturesError: the backbone gives NaN or infinity, or more than a stored number can be.
    """
    stores = {"plain": views.plain} if views.augmented is None else {"plain": views.plain, "augmented": views.augmented}
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
            device = inference_device()
            fast = fuse(backbone).to(device)
            with track(range(0), "embed", total=count) as bar:
                for which, store in stores.items():
                    paths = {key: file_of(temporary, key, which) for key in specs}
                    _embed_store(fast, device, store, settings.batch, paths, bar)
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


def _embed_store(
    backbone: Backbone,
    device: torch.device,
    store: Parts,
    batch: int,
    paths: dict[str, Path],
    bar: "tqdm[int]",
) -> None:
    """Features of views (..., S, S, 3) as an array (..., *spec.shape) for each tap.

    An accelerator works on the next batch while the last one is fetched and written.
    """
    specs = backbone.specs
    dtypes = {key: DTYPES[spec.dtype] for key, spec in specs.items()}
    with ExitStack() as stack:
        files = {
            key: stack.enter_context(write_parts(path, store.shape[:-3] + specs[key].shape, dtypes[key]))
            for key, path in paths.items()
        }
        running: dict[str, Tensor] | None = None
        for images in chain(_read_batches(store, batch), [None]):
            started = None if images is None else infer(lambda part: backbone(backbone.prepare(part)), images, device)
            for key, values in (running or {}).items():
                numbers = values.float().cpu().numpy()
                files[key].write(_checked(numbers, key, dtypes[key]).tobytes())
            bar.update(len(next(iter(running.values()))) if running else 0)
            running = started


def _read_batches(store: Parts, batch: int) -> Iterator[Tensor]:
    """The images (n, S, S, 3) of a store (..., S, S, 3) in order."""
    images = store if len(store.shape) == 4 else store.joined
    for start in range(0, len(images), batch):
        yield torch.from_numpy(images[start : start + batch])


def _count(store: Parts) -> int:
    """How many images there are in an array (..., S, S, 3)."""
    return math.prod(store.shape[:-3])


def _checked(values: NDArray[np.float32], key: str, dtype: str) -> NDArray[np.floating]:
    """The values in the dtype that they are stored with; refused if one is not a finite number."""
    with np.errstate(over="ignore"):
        stored: NDArray[np.floating] = values.astype(dtype, copy=False)
    if np.isfinite(stored).all():
        return stored
    if np.isfinite(values).all():
        raise FeaturesError(
            f"The backbone gives a feature of size {np.abs(values).max():,.0f} at tap {key}, and those of grids are"
            f" float16, {np.finfo(dtype).max:,.0f} at most. Take other heads.<name>.taps, or another backbone."
        )
    raise FeaturesError(
        f"The backbone gives NaN or infinity at tap {key}. Features have to be numbers: look whether"
        " the encoder's `weights` are whole and belong to its `name`, and whether `mean` and `std` are theirs."
    )
