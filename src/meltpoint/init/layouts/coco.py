"""COCO's layout: a JSON file of images, categories and annotations for each split, or for all."""

import json
import re
from pathlib import Path
from typing import Any

from meltpoint.data.split_names import split_in
from meltpoint.init.found import Found, InitError, examples, plural
from meltpoint.init.layouts.folder import folders_in, unwrapped
from meltpoint.init.objects import Marked, of_objects

KEYS = ("images", "annotations", "categories")
NOT = re.compile(r"captions|keypoints|panoptic|stuff|image_info", re.I)
START = 2_000_000  # bytes of a file that are looked at for the word by which the layout is known
TRIED = 40  # images that are looked for in each place


def find(root: Path, wanted: str | None) -> Found | None:
    """Annotations at `root`, or below it; None if there are none.

    Raises:
        InitError: a file that was named is none of COCO's, or its images are not there.
    """
    if root.is_file() and root.suffix.lower() != ".json":
        return None
    top = root.parent if root.is_file() else unwrapped(root)
    folders = (top, *folders_in(top), *(inner for one in folders_in(top) for inner in folders_in(one)))
    below = (file for folder in folders for file in sorted(folder.glob("*.json")))
    files = [file for file in below if not file.name.startswith(".") and not NOT.search(file.name)]
    files = [root] if root.is_file() else files
    sets = {file: content for file in files if (content := _content(file)) is not None}
    if root.is_file() and not sets:
        raise InitError(f"{root} is JSON, and has not the keys {list(KEYS)} of COCO's layout. Name a file that has.")
    if not sets:
        return None
    if root.is_file() and root.parent.name.casefold().startswith("annotation"):
        top = root.parent.parent
    images = [image for file, content in sets.items() for image in _images(file, content, top)]
    names = {
        one["name"]: str(one.get("supercategory") or "") for content in sets.values() for one in content["categories"]
    }
    seen: dict[str, Marked] = {}
    for image in images:
        before = seen[image.path].categories if image.path in seen else frozenset[str]()
        seen[image.path] = Marked(image.path, image.split, image.categories | before)
    outlined = any(one.get("segmentation") for content in sets.values() for one in content["annotations"][:100])
    notes = [f"read from {examples([file.relative_to(top).as_posix() for file in sets])}"]
    notes += ["outlines of objects are not used: masks are read as pictures"] if outlined else []
    return of_objects("COCO annotations", top, list(seen.values()), names, wanted, notes, [])


def _content(file: Path) -> dict[str, Any] | None:
    with file.open("rb") as opened:
        if b'"images"' not in opened.read(START) and file.stat().st_size <= START:
            return None
    try:
        content = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS):
        return None
    first = content["annotations"][:1]
    return content if all(isinstance(one, dict) and "category_id" in one for one in first) else None


def _images(file: Path, content: dict[str, Any], top: Path) -> list[Marked]:
    """The images of a file, with the categories of their annotations."""
    try:
        names = {one["id"]: str(one["name"]).strip() for one in content["categories"]}
        marked: dict[Any, set[str]] = {one["id"]: set() for one in content["images"]}
        files = {one["id"]: str(one["file_name"]) for one in content["images"]}
        for one in content["annotations"]:
            marked[one["image_id"]].add(names[one["category_id"]])
    except (KeyError, TypeError) as error:
        raise InitError(
            f"{file} is not COCO's layout throughout: an image, category or annotation lacks {error}, or names an id"
            " that is not there. Export it again."
        ) from None
    parts = (file.stem, *file.relative_to(top).parts[:-1])  # instances_train2017, or train/_annotations.coco
    split = next((split for part in parts if (split := split_in(part))), None)
    base = _base(file, list(files.values()), top, split)
    outside = [name for name in files.values() if not (base / name).is_relative_to(top)]
    if outside:
        raise InitError(
            f"{file} names {outside[0]!r}, which is not below {top}; {plural(len(outside), 'name')} are such. Write"
            " them relative to the folder of images."
        )
    return [
        Marked((base / name).relative_to(top).as_posix(), split, frozenset(marked[number]))
        for number, name in files.items()
    ]


def _base(file: Path, names: list[str], top: Path, split: str | None) -> Path:
    """The folder that file names start at."""
    below = [folder for one in folders_in(top) for folder in (one, *folders_in(one))]
    own = [folder for folder in below if split and split_in(folder.name) == split]
    some = names[:: max(1, len(names) // TRIED)][:TRIED]
    for place in (file.parent, file.parent / "images", *own, top, *below):
        if sum((place / name).is_file() for name in some) * 2 >= len(some) > 0:
            return place
    raise InitError(
        f"{file} names {plural(len(names), 'image')}, such as {examples(names)!r}, and they are in no folder below"
        f" {top}. Put the images beside the file, or into a folder beside it, and name the folder that holds both."
    )
