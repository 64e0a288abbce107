"""Source kind `masks`: images and their masks, paired by name and never by position; a split is a folder or a list."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from meltpoint.data.delimited import read_text
from meltpoint.data.listing import (
    Listing,
    Skipped,
    SourceError,
    files_table,
    locate,
    printable,
    shortened,
)
from meltpoint.data.sources.folder import Walk, files_below
from meltpoint.params.sources import MasksSource, Part

BARE, ALONE = "no mask", "a mask without an image"  # reasons


@dataclass(frozen=True)
class _Image:
    """A file in a folder of images; all but `split` are paths."""

    origin: str
    name: str  # in its folder, without suffix: what a list calls it
    mask: str  # where its mask has to be
    split: str | None


def read(source: MasksSource, work: Path) -> Listing:  # noqa: ARG001  (every source takes a scratch folder)
    """List the images that have a mask, with the columns `mask` (an absolute path) and `split`.

    Images without a mask are unusable; masks without an image, and images in no list, are ignored. Notes count both
    kinds.

    Raises:
        SourceError: a folder or a list is missing, they do not fit together, a name is that of two images or in two
            lists, or no image has a mask.
    """
    _check_parts(source)
    walk = Walk(locate(source.path))
    masks = {file for part in source.masks for file in _files(walk, _folder(source, "masks", part))}
    images = _images(walk, source)
    listed, absent = _listed(source, images)
    for image in listed:
        if image.mask in masks:
            walk.add(image.origin, image.split, image.mask)
        else:
            walk.unusable.append(Skipped(walk.name(image.origin), BARE))
    unlisted = {image.origin for image in images} - {image.origin for image in listed}
    free = masks - {path for image in images for path in (image.mask, image.origin)}
    for file in sorted(unlisted | free):
        walk.ignore(file, ALONE if file in free else "in no list")
    if not walk.rows:
        first = f"; {Path(listed[0].origin).name!r} needs the mask {listed[0].mask}" if listed else ""
        raise SourceError(
            f"None of the {len(listed):,} images of {source.path!r} has a mask{first}. Allowed is a mask for each"
            " image, with the name that data.source.mask_name gives. Correct it, or data.source.masks, in params.yaml."
        )
    paths, origins, splits, found = zip(*walk.rows, strict=True)
    columns = pd.DataFrame({"mask": found, "split": [split or "" for split in splits]}, dtype="string")
    files, title = files_table(paths, origins, splits), f"masks {source.path}"
    bare = [skipped.path for skipped in walk.unusable if skipped.reason == BARE]
    alone = [skipped.path for skipped in walk.ignored if skipped.reason == ALONE]
    counts = {"images have no mask": bare, "masks have no image": alone}
    notes = [f"{len(paths):,} {what}: {shortened(paths)}" for what, paths in counts.items() if paths]
    return Listing(title, files, columns, walk.unusable + absent, walk.ignored, notes, stated=("mask",))


def _check_parts(source: MasksSource) -> None:
    """Folders and lists that say one thing."""
    images, masks = set(source.images), set(source.masks)
    flaw = None
    if "all" in images and len(images) > 1:
        flaw = f"images names {sorted(images)}, and `all` goes with no other"
    elif masks not in ({"all"}, images):
        flaw = f"images names {sorted(images)}, and masks {sorted(masks)}"
    elif source.lists is not None and images != {"all"}:
        flaw = f"there are lists, and images names {sorted(images)} besides"
    if flaw:
        raise SourceError(
            f"data.source: {flaw}. Allowed is a folder of images for each split or one for `all`, and of masks for the"
            " same ones or one for `all`; with lists images have one for `all`. Correct it in params.yaml."
        )


def _folder(source: MasksSource, kind: Literal["images", "masks"], part: Part) -> Path:
    named = (source.images if kind == "images" else source.masks)[part]
    return Path(os.path.normpath(locate(str(Path(source.path, named)), f"data.source.{kind}.{part}")))


def _files(walk: Walk, folder: Path) -> list[str]:
    return list(files_below(walk, str(folder), (os.path.realpath(folder),)))


def _images(walk: Walk, source: MasksSource) -> list[_Image]:
    """Every image, each with the only place where its mask may be."""
    images = []
    for part in source.images:
        folder = _folder(source, "images", part)
        masks = _folder(source, "masks", part if part in source.masks else "all")
        split = None if part == "all" else part
        for file in _files(walk, folder):
            inside = PurePosixPath(os.path.relpath(file, folder))
            mask = os.path.normpath(masks / inside.parent / source.mask_name.replace("{stem}", inside.stem))
            # A folder of masks may lie in the folder of images.
            if masks == folder or masks not in Path(file).parents:
                images.append(_Image(file, str(inside.parent / inside.stem), mask, split))
    awaited = {image.mask for image in images}  # both may even lie in one folder
    images = [image for image in images if image.origin not in awaited]
    counts = Counter(image.mask for image in images)
    twice = sorted(walk.name(image.origin) for image in images if counts[image.mask] > 1)
    if twice:
        raise SourceError(
            f"{len(twice):,} images share the name of a mask with another: {shortened(twice)}. A mask belongs to one"
            " image. Rename or remove one of each, or give each split its own folder of masks."
        )
    return images


def _listed(source: MasksSource, images: list[_Image]) -> tuple[list[_Image], list[Skipped]]:
    """The images that lists name, each with its split, and names without an image; all images if there are no lists."""
    if source.lists is None:
        return images, []
    known = {image.name: image for image in images}
    splits: dict[str, str] = {}
    absent = []
    for split, path in source.lists.items():
        key = f"data.source.lists.{split}"
        text, _ = read_text(locate(str(Path(source.path, path)), key), key)
        for line in filter(None, map(str.strip, text.splitlines())):
            cells = [PurePosixPath(cell) for cell in (line, line.split()[0])]  # whole, or before other cells
            names = [name for one in cells for name in (one, one.parent / one.stem, one.name, one.stem)]
            name = next((str(name) for name in names if str(name) in known), None)
            if name is None:
                absent.append(Skipped(printable(line), f"in the list of {split}, and no such image"))
            elif splits.setdefault(name, split) != split:
                raise SourceError(
                    f"data.source.lists: {name!r} is in the lists of {splits[name]} and {split}. An image belongs"
                    " to one split. Take it out of one of the lists."
                )
    return [replace(known[name], split=split) for name, split in splits.items()], absent
