"""Images and their masks: a folder for each, for each split, or both in one folder."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from meltpoint.data.split_names import split_in
from meltpoint.init.found import SEGMENTATION, Found, InitError, data_name, label_name, read_listing, shown_path
from meltpoint.init.layouts.folder import folders_in, unwrapped
from meltpoint.init.mask_classes import MaskClasses, find_mask_classes, is_mask
from meltpoint.init.pictures import is_picture

WORDS = r"masks?|labels?|annots?|annotations?|gt|groundtruth|ground_truth|seg|segmentations?|segmentationclass|targets?"
HINT = re.compile(rf"(^|[^a-z]|train|val|valid|test|image|img)({WORDS})($|[^a-z])", re.I)
NOT = re.compile(r"segmentationobject|instance|bbox|xml", re.I)
DEEP = 3  # folders below the root
PAIRED = 0.5  # the share of images that has to have a mask
SAMPLED = 5  # masks that are looked at


@dataclass(frozen=True)
class FolderPair:
    """A folder of images, one of their masks, the split that they are, and how a mask is called."""

    images: Path
    masks: Path
    split: str | None
    mask_name: str
    count: int


def find(root: Path, wanted: str | None) -> Found | None:
    """Folders of images and masks below `root`; None if there are none.

    Raises:
        InitError: there are, and the pipeline cannot read them as they lie.
    """
    if not root.is_dir():
        return None
    top = unwrapped(root)
    pairs = list(_pairs(top))
    if not pairs:
        return None
    source = _source(top, pairs)
    return with_masks(
        source, top, wanted, [f"masks are found by name: {source['mask_name'].replace('{stem}', 'NAME')}"]
    )


def with_masks(source: dict[str, Any], top: Path, wanted: str | None, notes: list[str]) -> Found:
    """What a source of kind `masks` holds; its masks are read to know their classes."""
    listing = read_listing(source)
    masks = [str(path) for path in listing.columns["mask"]]
    classes: MaskClasses = find_mask_classes(masks, list(listing.files["origin"]), top)
    label = label_name(wanted or data_name(top))
    return Found(
        layout="images and masks" + (", with lists of splits" if source["lists"] else ""),
        name=data_name(top),
        source=source,
        labels={label: classes.label},
        main=label,
        listing=listing,
        cells=classes.cells.to_frame(label),
        classes={label: list(classes.label["classes"])},
        task=SEGMENTATION,
        notes=[*notes, *classes.notes],
        warnings=classes.warnings,
    )


def _pairs(top: Path) -> Iterator[FolderPair]:
    """Each folder of images with the folder that holds most of its masks."""
    folders: dict[Path, list[str]] = {}
    for folder in _below(top, DEEP):
        files = [entry.name for entry in os.scandir(folder) if is_picture(Path(entry.name)) and entry.is_file()]
        if files:
            folders[folder] = sorted(files)
    hinted = set()  # folders whose name, or one above it, is that of masks
    for folder in folders:
        inside = folder.relative_to(top).parts
        if any(HINT.search(part) for part in inside) and not any(NOT.search(part) for part in inside):
            hinted.add(folder)
    for images, files in folders.items():
        if images in hinted:
            continue
        best: FolderPair | None = None
        for masks in [*hinted, images]:
            found = _mask_name(files, folders[masks], masks == images)
            if found is None:
                continue
            sample = found[1][:: max(1, len(found[1]) // SAMPLED)][:SAMPLED]
            if not all(is_mask(masks / name) for name in sample):
                continue
            # The folder of images is in a folder of a split, or its name begins or ends with one.
            split = next((one for part in reversed(images.relative_to(top).parts) if (one := split_in(part))), None)
            pair = FolderPair(images, masks, split, found[0], len(found[1]))
            if best is None or (pair.count, _near(images, masks)) > (best.count, _near(images, best.masks)):
                best = pair
        if best is not None:
            yield best


def _mask_name(images: list[str], masks: list[str], together: bool) -> tuple[str, list[str]] | None:
    """How masks are called, as "{stem}_mask.png", and those that are called so; None if few images have one."""
    known = set(masks)
    stems = {Path(name).stem for name in images}
    endings: Counter[str] = Counter()
    for name in masks[:200]:
        stem = Path(name).stem
        longest = len(stem) - together  # in one folder the whole name is that of an image
        end = next((end for end in range(longest, 0, -1) if stem[:end] in stems), None)
        if end is not None:
            endings[name[end:]] += 1
    for ending, _ in endings.most_common(1):
        found = [f"{stem}{ending}" for stem in stems if f"{stem}{ending}" in known]
        alone = len(stems) - (len(found) if together else 0)
        if len(found) >= PAIRED * alone:
            return f"{{stem}}{ending}", sorted(found)
    return None


def _near(images: Path, masks: Path) -> int:
    """How many letters two paths share at their start: `train` is nearer to `trainannot` than to `valannot`."""
    pairs = zip(str(images), str(masks), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _source(top: Path, pairs: list[FolderPair]) -> dict[str, Any]:
    names = {pair.mask_name for pair in pairs}
    splits = [pair.split for pair in pairs]
    if len(names) > 1 or len(set(splits)) < len(splits) or (None in splits and len(splits) > 1):
        listed = "; ".join(
            f"{_inside(pair.images, top)} with {_inside(pair.masks, top)}, {pair.mask_name}, {pair.split or 'no split'}"
            for pair in pairs
        )
        raise InitError(
            f"{top} holds several folders of images with masks: {listed}. Allowed is one, or one for each of train, val"
            " and test, with masks called alike. Name the folder of one of them, or move the others away."
        )
    parts = {pair.split or "all": pair for pair in pairs}
    order = [part for part in ("train", "val", "test", "all") if part in parts]
    images = {part: _inside(parts[part].images, top) for part in order}
    masks = {part: _inside(parts[part].masks, top) for part in order}
    if len(set(masks.values())) == 1 and len(masks) > 1:
        masks = {"all": next(iter(masks.values()))}
    return {
        "kind": "masks",
        "path": shown_path(top),
        "images": images,
        "masks": masks,
        "lists": None,
        "mask_name": pairs[0].mask_name,
    }


def _inside(folder: Path, top: Path) -> str:
    return folder.relative_to(top).as_posix()


def _below(folder: Path, deep: int) -> Iterator[Path]:
    yield folder
    for one in folders_in(folder) if deep else ():
        yield from _below(one, deep - 1)
