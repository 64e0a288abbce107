"""Every image decoded once: a store of uint8 views, plain ones of all and augmented ones for training, with masks."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

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
from meltpoint.parts import Parts, Writer, files_of, open_parts, write_parts
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
    """An open store. Arrays stay on the disk: reading a row reads that row only.

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
    plain: Parts
    augmented: Parts | None
    masks: Parts | None = None
    augmented_masks: Parts | None = None
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
        PartsError: an array is not whole.
    """
    plain = open_parts(folder / PLAIN)
    if plain is None or not (folder / FACTS).exists():
        raise ViewsError(f"There are no views in {folder}. Make them: dvc repro augment")
    facts = read_json(folder / FACTS)
    classes = read_classes(folder / "classes.json")
    return Views(
        folder=folder,
        samples=read_samples(folder / "samples.csv", classes),
        classes=classes,
        size=facts["size"],
        count=facts["count"],
        fingerprint=facts["fingerprint"],
        plain=plain,
        augmented=open_parts(folder / AUGMENTED) if facts["count"] else None,
        masks=open_parts(folder / MASKS),
        augmented_masks=open_parts(folder / AUGMENTED_MASKS) if facts["count"] else None,
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
    needed: dict[str, tuple[int, ...]] = {PLAIN: (*stored, 3)}
    needed |= {MASKS: stored} if masked else {}
    needed |= {AUGMENTED: (*made, 3)} if views else {}
    needed |= {AUGMENTED_MASKS: made} if masked and views else {}
    with ExitStack() as stack:
        files = {name: stack.enter_context(write_parts(folder / name, shape, "|u1")) for name, shape in needed.items()}
        for pair, numbers in zip(plain, seeds, strict=True):
            _write(pair, files[PLAIN], files.get(MASKS))
            for number in numbers:
                _write(augment(transform, pair, number), files[AUGMENTED], files.get(AUGMENTED_MASKS))


def _write(pair: MaskedView, views: Writer, masks: Writer | None) -> None:
    view, mask = pair
    views.write(view.tobytes())
    if mask is not None:
        assert masks is not None, "all images have masks, or none has one"
        masks.write(mask.tobytes())


def _fingerprint(folder: Path, settings: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in ("samples.csv", "classes.json"):
        digest.update((folder / name).read_bytes())
    for file in files_of(folder / MASKS):  # the table knows the bytes of images alone
        digest.update(sha256_of(file).encode())
    return digest.hexdigest()
