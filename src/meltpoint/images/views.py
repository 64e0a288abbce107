"""Every image decoded once: a store of uint8 views, one plain view of each image and augmented ones for training."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.errors import UserError
from meltpoint.files import read_json, whole_folder, write_json
from meltpoint.images.augment import Transform
from meltpoint.images.decode import Pixels, decode
from meltpoint.images.resize import resize
from meltpoint.params.data import Images
from meltpoint.progress import track
from meltpoint.tables import Classes, read_classes, read_samples, write_samples

PLAIN, AUGMENTED, FACTS = "plain.npy", "augmented.npy", "views.json"
CHUNK = 256  # images in memory at once
Item = TypeVar("Item")
Result = TypeVar("Result")


class ViewsError(UserError, RuntimeError):
    """The store of views is missing or not whole."""


@dataclass(frozen=True)
class Views:
    """An open store. Arrays are memory maps: reading a row reads that row only.

    Attributes: `samples` the full table, sorted by id; `plain` uint8 (N, S, S, 3) in the order of samples; `augmented`
    uint8 (n_train, V, S, S, 3) in the order of the training rows, or None; `size` S in pixels; `count` V;
    `fingerprint` of pixels, labels, splits and settings.
    """

    folder: Path
    samples: pd.DataFrame
    classes: Classes
    size: int
    count: int
    fingerprint: str
    plain: Pixels
    augmented: Pixels | None

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of a split's images in `samples` and `plain`, int64."""
        return np.flatnonzero(self.samples["split"] == split).astype(np.int64)

    @property
    def sentence(self) -> str:
        """What the store holds, in words."""
        augmented = f"{self.count} augmented views of each of {len(self.rows('train')):,} training images"
        return f"{len(self.samples):,} images at {self.size} px, {augmented if self.count else 'augmented on the fly'}"


def write_views(
    raw: Path,
    samples: pd.DataFrame,
    classes: Classes,
    images: Images,
    transform: Transform,
    count: int,
    seed: int,
    folder: Path,
) -> None:
    """Decode every image of `samples` once; write its plain view and, for a training image, `count` augmented ones."""
    samples = samples.sort_values("id").reset_index(drop=True)
    ids, paths = samples["id"].tolist(), samples["path"].tolist()
    trained = (samples["split"] == "train").tolist()
    shape = (images.size, images.size, 3)
    plain_views = _mapped(lambda path: resize(decode(raw / path, float("inf")), images), paths)
    with whole_folder(folder) as new:
        with (
            _appended(new / PLAIN, (len(paths), *shape)) as plain,
            _appended(new / AUGMENTED, (sum(trained), count, *shape)) as augmented,
        ):
            for row, view in enumerate(track(plain_views, "augment", len(paths))):
                plain.write(view.tobytes())
                for number in range(count if trained[row] else 0):
                    augmented.write(transform(view, view_seed(seed, ids[row], number)).tobytes())
        if not count:
            (new / AUGMENTED).unlink()
        write_samples(samples, new / "samples.csv")
        write_json(new / "classes.json", classes)
        settings = {"images": images.model_dump(), "count": count, "seed": seed, "transforms": repr(transform.compose)}
        write_json(new / FACTS, {"size": images.size, "count": count, "fingerprint": _fingerprint(new, settings)})


def open_views(folder: Path) -> Views:
    """Open a store for reading.

    Raises:
        ViewsError: there is none.
    """
    try:
        facts = read_json(folder / FACTS)
    except FileNotFoundError:
        raise ViewsError(f"There are no views in {folder}. Make them: dvc repro augment") from None
    classes = read_classes(folder / "classes.json")
    return Views(
        folder=folder,
        samples=read_samples(folder / "samples.csv", classes),
        classes=classes,
        size=facts["size"],
        count=facts["count"],
        fingerprint=facts["fingerprint"],
        plain=np.load(folder / PLAIN, mmap_mode="r"),
        augmented=np.load(folder / AUGMENTED, mmap_mode="r") if facts["count"] else None,
    )


def view_seed(seed: int, *numbers: int) -> int:
    """A seed of 63 bits for what `numbers` name (image id and view, say), the same in every process."""
    text = ",".join(str(number) for number in (seed, *numbers))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def _mapped(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Results in order from a few threads, never more than a chunk of them waiting."""
    cv2.setNumThreads(1)  # our threads are enough
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), CHUNK):
            yield from pool.map(function, items[start : start + CHUNK])


@contextmanager
def _appended(path: Path, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A uint8 .npy file written row after row; a memory map would keep every page it wrote in memory."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        yield file


def _fingerprint(folder: Path, settings: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in ("samples.csv", "classes.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
