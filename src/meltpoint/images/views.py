"""Every image decoded once: a store of uint8 views, plain ones of all and augmented ones for training, with masks."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Mask, Pixels
from meltpoint.bit_depth import Depths
from meltpoint.errors import UserError
from meltpoint.files import read_json, sha256_of, whole_folder, write_json
from meltpoint.images.augment import Augmentation
from meltpoint.images.decode import decode
from meltpoint.images.mask_files import decode_ids, resize_mask
from meltpoint.images.resize import resize
from meltpoint.params.data import Images, ViewRow
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track
from meltpoint.tables import Classes, Palettes, mask_column, read_classes, read_samples, write_samples

PLAIN, AUGMENTED, FACTS = "plain.npy", "augmented.npy", "views.json"
MASKS, AUGMENTED_MASKS = "masks.npy", "augmented_masks.npy"
AHEAD = 256  # decoded images that may wait in memory
MaskedView = tuple[Pixels, Mask | None]  # a view and its mask


class ViewsError(UserError, RuntimeError):
    """The store of views is missing or not whole."""


@dataclass(frozen=True)
class Views:
    """An open store. Arrays are memory maps: reading a row reads that row only.

    Attributes: `samples` the full table, sorted by id; `plain` uint8 (N, S, S, 3) in the order of samples; `augmented`
    uint8 (n_train, V, S, S, 3) in the order of the training rows, or None; `size` S in pixels; `count` V;
    `fingerprint` of pixels, labels, splits and settings.
    Where images have masks, `masks` uint8 (N, S, S) and `augmented_masks` uint8 (n_train, V, S, S) are the class ids
    (or `IGNORED`) of the pixels of `plain` and `augmented`; `palettes` has a colour "#rrggbb" for each of the classes.
    `depths` are what `write_views` got. `read_file` gives the bytes of a path in `samples`, for those who want whole
    pictures.
    """

    folder: Path
    samples: pd.DataFrame
    classes: Classes
    size: int
    count: int
    fingerprint: str
    plain: Pixels
    augmented: Pixels | None
    masks: Mask | None = None
    augmented_masks: Mask | None = None
    palettes: Palettes = field(default_factory=dict)
    depths: Depths = field(default_factory=dict)
    read_file: Callable[[str], bytes] | None = None

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of a split's images in `samples` and `plain`, int64."""
        return np.flatnonzero(self.samples["split"] == split).astype(np.int64)

    @property
    def sentence(self) -> str:
        """What the store holds, in words."""
        augmented = f"{self.count} augmented views of each of {len(self.rows('train')):,} training images"
        return f"{len(self.samples):,} images at {self.size} px, {augmented if self.count else 'augmented on the fly'}"


def write_views(
    read: Callable[[str], bytes],
    samples: pd.DataFrame,
    classes: Classes,
    images: Images,
    transform: Augmentation,
    count: int,
    seed: int,
    folder: Path,
    palettes: Palettes | None = None,
    depths: Depths | None = None,
) -> None:
    """Decode every image of `samples` once; write its plain view and, for a training image, `count` augmented ones.

    `read` gives the bytes of a path in `samples`. Each view has its mask where `samples` have a column of masks, and
    `palettes` the colours of their classes. `depths` say which values of pictures of more than 8 bits are black and
    white.
    """
    samples = samples.sort_values("id").reset_index(drop=True)
    masked = [mask_column(label) for label in classes if mask_column(label) in samples]
    files = samples[["path", *masked]].to_numpy(dtype=object).tolist()
    seeds = [
        [view_seed(seed, number, view) for view in range(count if split == "train" else 0)]
        for number, split in zip(samples["id"], samples["split"], strict=True)
    ]
    cv2.setNumThreads(1)  # our threads are enough

    def decoded(paths: list[str]) -> MaskedView:
        view = resize(decode(read(paths[0]), float("inf"), depths, paths[0], images.smallest), images)
        return view, resize_mask(decode_ids(read(paths[1])), images) if masked else None

    plain = map_ahead(decoded, files, AHEAD, None)
    with whole_folder(folder) as new:
        _write_arrays(new, track(plain, "augment", len(files)), transform, seeds, bool(masked))
        write_samples(samples, new / "samples.csv")
        write_json(new / "classes.json", classes)
        known = {"depths": depths} if depths else {}
        settings = {"images": images.model_dump(), "count": count, "seed": seed, "transforms": repr(transform.compose)}
        facts = {"size": images.side, "count": count, "fingerprint": _fingerprint(new, settings | known)}
        facts["data"] = _fingerprint(new, known)  # the same of all stores of the same images
        write_json(new / FACTS, facts | {"palettes": palettes or {}, "depths": depths or {}})


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
        augmented=_mapped_file(folder / AUGMENTED) if facts["count"] else None,
        masks=_mapped_file(folder / MASKS),
        augmented_masks=_mapped_file(folder / AUGMENTED_MASKS) if facts["count"] else None,
        palettes=facts.get("palettes", {}),
        depths=facts.get("depths", {}),
    )


def open_like(images: Images, rows: Mapping[str, ViewRow], stores: Path) -> tuple[Views, bool]:
    """The views of this geometry, and True; where no row has it those of the first one, and False."""
    row = next((name for name, row in rows.items() if row.geometry == images), None)
    return open_views(stores / (row or next(iter(rows)))), row is not None


def augment(transform: Augmentation, plain: MaskedView, seed: int) -> MaskedView:
    """An augmented view of a plain one, its mask moved with it."""
    view, mask = plain
    return (transform(view, seed), None) if mask is None else transform.pair(view, mask, seed)


def view_seed(seed: int, *numbers: int) -> int:
    """A seed of 63 bits for what `numbers` name (image id and view, say), the same in every process."""
    text = ",".join(str(number) for number in (seed, *numbers))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def _write_arrays(
    folder: Path, plain: Iterable[MaskedView], transform: Augmentation, seeds: Sequence[Sequence[int]], masked: bool
) -> None:
    """Write the arrays of a store; each image has a plain view, and an augmented one for each of its `seeds`."""
    square, views = (transform.size, transform.size), [len(numbers) for numbers in seeds if numbers]
    stored, made = (len(seeds), *square), (len(views), max(views, default=0), *square)
    with (
        _appended(folder / PLAIN, (*stored, 3)) as images,
        _appended(folder / MASKS, stored) as masks,
        _appended(folder / AUGMENTED, (*made, 3)) as augmented,
        _appended(folder / AUGMENTED_MASKS, made) as augmented_masks,
    ):
        for pair, numbers in zip(plain, seeds, strict=True):
            written = [(pair, images, masks)]
            written += [(augment(transform, pair, number), augmented, augmented_masks) for number in numbers]
            for (view, mask), view_file, mask_file in written:
                view_file.write(view.tobytes())
                mask_file.write(b"" if mask is None else mask.tobytes())
    empty = {MASKS: not masked, AUGMENTED: not views, AUGMENTED_MASKS: not (masked and views)}
    for name in [name for name, unneeded in empty.items() if unneeded]:
        (folder / name).unlink()


def _mapped_file(path: Path) -> Pixels | None:
    return np.load(path, mmap_mode="r") if path.exists() else None


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
    if (folder / MASKS).exists():  # the table knows the bytes of images alone
        digest.update(sha256_of(folder / MASKS).encode())
    return digest.hexdigest()
