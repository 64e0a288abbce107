"""Frozen features of every stored view, computed once, written in the order they are computed, unless too large."""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor
from tqdm import tqdm

from meltpoint.errors import UserError
from meltpoint.files import read_json, whole_folder, write_json
from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.taps import FeatureSpec
from meltpoint.params.model import Reading
from meltpoint.params.training import Embed
from meltpoint.progress import track
from meltpoint.terminal import say

INDEX = "features.json"  # written last: where it is, all is
DTYPES = {"float32": "<f4", "float16": "<f2"}  # on disk

Values = NDArray[np.float32] | NDArray[np.float16]


class FeaturesError(UserError, RuntimeError):
    """There are no features, none of that tap, none is stored, or the backbone gave some that are not numbers."""


@dataclass(frozen=True)
class Features:
    """Stored features: of plain views in the order of the samples, of augmented ones in that of the training rows.

    Where they are not `stored`, being larger than `embed.max_gb`, only what would have been stored is known.
    """

    folder: Path
    specs: dict[str, FeatureSpec]  # by tap key
    images: int  # N, of all splits
    training: int  # of the training split
    views: int  # V, augmented ones of each training image; 0: none is stored
    stored: bool
    fingerprint: str  # of all the features depend on

    def plain(self, tap: Reading) -> Values:
        """Features of the plain views, a read-only memmap of the spec's dtype (N, *spec.shape).

        Raises:
            FeaturesError: there is no such tap, or nothing is stored.
        """
        return self._open(tap, "plain")

    def augmented(self, tap: Reading) -> Values | None:
        """Those of augmented views, of the same dtype (training, V, *spec.shape); None if there are no such views.

        Raises:
            FeaturesError: there is no such tap, or nothing is stored.
        """
        return self._open(tap, "augmented") if self.views else None

    @property
    def sentence(self) -> str:
        """What was made, in words."""
        shapes = {key: " x ".join(map(str, spec.shape)) for key, spec in self.specs.items()}
        sizes = ", ".join(f"{shape} numbers from tap {key}" for key, shape in shapes.items())
        views = f" and {self.views} augmented views of {self.training:,} training images" if self.views else ""
        return f"{self.images:,} images{views}: {sizes} for each{'' if self.stored else ', not stored'}"

    def _open(self, tap: Reading, which: str) -> Values:
        if tap_key(tap) not in self.specs:
            raise FeaturesError(
                f"{self.folder} holds no features of tap {tap_key(tap)}; it has {list(self.specs)}."
                " Run `dvc repro embed` again."
            )
        if not self.stored:
            raise FeaturesError(
                f"The features in {self.folder} are not stored: they are larger than embed.max_gb. Let the backbone run"
                " instead, or allow more and run `dvc repro embed`."
            )
        array: Values = np.load(_file(self.folder, tap_key(tap), which), mmap_mode="r")
        return array


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
                    paths = {key: _file(temporary, key, which) for key in specs}
                    _embed_store(fast, device, store, settings.batch, paths, bar)
        write_json(temporary / INDEX, index)
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
    specs = TypeAdapter(dict[str, FeatureSpec]).validate_python(index.pop("specs"))
    return Features(folder=folder, specs=specs, **index)


def _file(folder: Path, key: str, which: str) -> Path:
    return folder / f"{key}.{which}.npy"


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
    store: NDArray[np.uint8],
    batch: int,
    paths: dict[str, Path],
    bar: "tqdm[int]",
) -> None:
    """Features of one .npy of views (..., S, S, 3) into one .npy (..., *spec.shape) for each tap.

    An accelerator works on the next batch while the last one is fetched and written.
    """
    with ExitStack() as stack:
        files = {key: stack.enter_context(path.open("wb")) for key, path in paths.items()}
        dtypes = {key: DTYPES[spec.dtype] for key, spec in backbone.specs.items()}
        for key, file in files.items():
            header = {
                "descr": dtypes[key],
                "fortran_order": False,
                "shape": store.shape[:-3] + backbone.specs[key].shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
        running: dict[str, Tensor] | None = None
        for images in chain(_read_batches(store, batch), [None]):
            started = None if images is None else infer(lambda part: backbone(backbone.prepare(part)), images, device)
            for key, values in (running or {}).items():
                numbers = values.float().cpu().numpy()
                files[key].write(_checked(numbers, key, dtypes[key]).tobytes())
            bar.update(len(next(iter(running.values()))) if running else 0)
            running = started


def _read_batches(store: NDArray[np.uint8], batch: int) -> Iterator[Tensor]:
    """The images (n, S, S, 3) of a mapped .npy in order; mapped anew each time, or pages seen would count as memory."""
    assert isinstance(store, np.memmap)
    assert store.filename is not None
    for start in range(0, _count(store), batch):
        images = np.load(store.filename, mmap_mode="r").reshape(-1, *store.shape[-3:])
        yield torch.from_numpy(np.array(images[start : start + batch]))


def _count(store: NDArray[np.uint8]) -> int:
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
