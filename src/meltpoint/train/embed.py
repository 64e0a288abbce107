"""Frozen features of every stored view, computed once, written in the order they are computed."""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from meltpoint.errors import UserError
from meltpoint.files import read_json, whole_folder, write_json
from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone, FeatureSpec, tap_key
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.params.model import Reading
from meltpoint.params.training import Embed
from meltpoint.progress import say, track

INDEX = "features.json"  # written last: where it is, all is
LARGE = 1e9  # bytes of features that are announced before they are written


class FeaturesError(UserError, RuntimeError):
    """There are no features, or none of that tap, or the backbone gave some that are no numbers."""


@dataclass(frozen=True)
class Features:
    """Stored features: of plain views in the order of the samples, of augmented ones in that of the training rows."""

    folder: Path
    specs: dict[str, FeatureSpec]  # by tap key
    images: int  # N, of all splits
    training: int  # of the training split
    views: int  # V, augmented ones of each training image; 0: none is stored
    fingerprint: str  # of all the features depend on

    def plain(self, tap: Reading) -> NDArray[np.float32]:
        """Features of the plain views, a read-only memmap float32 (N, *spec.shape)."""
        return self._open(tap, "plain")

    def augmented(self, tap: Reading) -> NDArray[np.float32] | None:
        """Those of augmented views, a read-only memmap float32 (training, V, *spec.shape); None if none is stored."""
        return self._open(tap, "augmented") if self.views else None

    @property
    def sentence(self) -> str:
        """What was made, in words."""
        shapes = {key: " x ".join(map(str, spec.shape)) for key, spec in self.specs.items()}
        sizes = ", ".join(f"{shape} numbers from tap {key}" for key, shape in shapes.items())
        views = f" and {self.views} augmented views of {self.training:,} training images" if self.views else ""
        return f"{self.images:,} images{views}: {sizes} for each"

    def _open(self, tap: Reading, which: str) -> NDArray[np.float32]:
        if tap_key(tap) not in self.specs:
            raise FeaturesError(
                f"{self.folder} holds no features of tap {tap_key(tap)}; it has {list(self.specs)}."
                " Run `dvc repro embed` again."
            )
        array: NDArray[np.float32] = np.load(_file(self.folder, tap_key(tap), which), mmap_mode="r")
        return array


def embed(backbone: Backbone, views: Views, settings: Embed, folder: Path) -> Features:
    """Run the backbone once over each stored view; `folder` appears whole or not at all. Memory does not grow with N.

    Raises:
        FeaturesError: the backbone gives NaN or infinity.
    """
    device = inference_device()
    fast = fuse(backbone).to(device)
    stores = {"plain": views.plain} if views.augmented is None else {"plain": views.plain, "augmented": views.augmented}
    total = sum(_count(store) for store in stores.values())
    _announce(total, fast.specs)
    with whole_folder(folder) as temporary, track(range(0), "embed", total=total) as bar:
        for which, store in stores.items():
            paths = {key: _file(temporary, key, which) for key in fast.specs}
            _embed_store(fast, device, store, settings.batch, paths, bar)
        write_json(temporary / INDEX, _index(backbone, views))
    return open_features(folder)


def open_features(folder: Path) -> Features:
    """Open what `embed` wrote.

    Raises:
        FeaturesError: it is not there.
    """
    try:
        index = read_json(folder / INDEX)
    except FileNotFoundError:
        raise FeaturesError(f"There are no features in {folder}: {INDEX} is missing. Run `dvc repro embed`.") from None
    specs = {key: _spec(**spec) for key, spec in index.pop("specs").items()}
    return Features(folder=folder, specs=specs, **index)


def _spec(channels: int, stride: int, grid: list[int] | None, pooled: bool) -> FeatureSpec:
    return FeatureSpec(channels, stride, (grid[0], grid[1]) if grid else None, pooled)


def _announce(count: int, specs: dict[str, FeatureSpec]) -> None:
    """Say how much will be written, if it is much: maps that are not pooled are large."""
    sizes = {key: 4 * count * math.prod(spec.shape) for key, spec in specs.items()}
    if sum(sizes.values()) > LARGE:
        parts = ", ".join(f"{size / 1e9:,.1f} GB of tap {key}" for key, size in sizes.items())
        say(f"embed: writing {sum(sizes.values()):,} bytes of features ({parts}); fewer `augment.views` make it less")


def _file(folder: Path, key: str, which: str) -> Path:
    return folder / f"{key}.{which}.npy"


def _index(backbone: Backbone, views: Views) -> dict[str, Any]:
    """features.json: the fields of Features without its folder."""
    return {
        "specs": {key: asdict(spec) for key, spec in backbone.specs.items()},
        "images": len(views.plain),
        "training": int((views.samples["split"] == "train").sum()),
        "views": 0 if views.augmented is None else views.augmented.shape[1],
        "fingerprint": _fingerprint(backbone, views.fingerprint),
    }


def _fingerprint(backbone: Backbone, views: str) -> str:
    """sha256 over the views, what the backbone is made of, its weights, those that heads copy, and the taps."""
    params = backbone.params
    made_of = [views, params.name, params.args, backbone.mean, backbone.std, backbone.size, sorted(backbone.specs)]
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
    store: NDArray[np.uint8],
    batch: int,
    paths: dict[str, Path],
    bar: "tqdm[int]",
) -> None:
    """Features of one .npy of views (..., S, S, 3) into one .npy (..., *spec.shape) for each tap."""
    with ExitStack() as stack:
        files = {key: stack.enter_context(path.open("wb")) for key, path in paths.items()}
        for key, file in files.items():
            _write_header(file, (*store.shape[:-3], *backbone.specs[key].shape))
        for features in _run(backbone, device, _read_batches(store, batch)):
            for key, values in features.items():
                files[key].write(_checked(values, key).tobytes())
            bar.update(len(values))


def _run(
    backbone: Backbone, device: torch.device, batches: Iterator[Tensor]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Features of each batch; an accelerator works on the next one while the last is fetched and written."""
    waiting: dict[str, Tensor] | None = None
    for batch in batches:
        started = infer(lambda images: backbone(backbone.prepare(images)), batch, device)
        if waiting is not None:
            yield _fetch(waiting)
        waiting = started
    if waiting is not None:
        yield _fetch(waiting)


def _fetch(features: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    return {key: values.float().cpu().numpy() for key, values in features.items()}


def _read_batches(store: NDArray[np.uint8], batch: int) -> Iterator[Tensor]:
    """The images (n, S, S, 3) of a mapped .npy in order; mapped anew each time, or pages seen would count as memory."""
    assert isinstance(store, np.memmap)
    assert store.filename is not None
    for start in range(0, _count(store), batch):
        images = np.load(store.filename, mmap_mode="r").reshape(-1, *store.shape[-3:])
        yield torch.from_numpy(np.array(images[start : start + batch]))


def _count(store: NDArray[np.uint8]) -> int:
    """How many images there are in an array (..., S, S, 3)."""
    return int(np.prod(store.shape[:-3]))


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _checked(values: NDArray[np.float32], key: str) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise FeaturesError(
            f"The backbone gives NaN or infinity at tap {key}. Features have to be numbers: look whether"
            " backbone.weights are whole and belong to backbone.name, and whether mean and std are theirs."
        )
    return values
