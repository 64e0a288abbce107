"""Source kind `coco`: COCO's JSON of images, categories and annotations; an image's tags are the categories in it."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.data.listing import Listing, SourceError, files_table, locate, shortened
from meltpoint.data.sources.folder import Walk
from meltpoint.params.sources import CocoSource
from meltpoint.tables import PRESENT

KEYS = ("images", "annotations", "categories")


def read(source: CocoSource, work: Path) -> Listing:  # noqa: ARG001  (every source takes a scratch folder)
    """List the images with the columns `tags`, names joined by `|` (none: empty), and `split`.

    Raises:
        SourceError: a file or folder is missing, is not in COCO's layout, or an image is in two files.
    """
    if set(source.images) != set(source.annotations) or ("all" in source.images and len(source.images) > 1):
        raise SourceError(
            f"data.source: images names {sorted(source.images)}, and annotations {sorted(source.annotations)}. Allowed"
            " are the same ones of train, val and test, or `all` alone. Correct it in params.yaml."
        )
    walk = Walk(locate(source.path))
    for part, path in source.annotations.items():
        place = locate(str(Path(source.path, source.images[part])), f"data.source.images.{part}")
        folder = Path(os.path.normpath(place))
        file = locate(str(Path(source.path, path)), f"data.source.annotations.{part}")
        for name, tags in _read(file).items():
            origin = os.path.normpath(folder / name)
            if not Path(origin).is_relative_to(folder):
                raise SourceError(
                    f"{file.name} names {name!r}, which is not below {folder}. Write it relative to that."
                )
            walk.add(origin, None if part == "all" else part, PRESENT.join(sorted(tags)))
    seen = [row[0] for row in walk.rows]
    if len(set(seen)) < len(seen):
        twice = sorted(path for path, times in Counter(seen).items() if times > 1)
        raise SourceError(f"{shortened(twice)} are in the annotations of two splits. An image belongs to one of them.")
    paths, origins, splits, tags_of = zip(*walk.rows, strict=True) if walk.rows else ((), (), (), ())
    columns = pd.DataFrame({"tags": tags_of, "split": [split or "" for split in splits]}, dtype="string")
    return Listing(f"coco {source.path}", files_table(paths, origins, splits), columns, walk.unusable, walk.ignored)


def _read(file: Path) -> dict[str, set[str]]:
    """The categories in each image, by its file name."""
    try:
        content: Any = json.loads(file.read_text("utf-8"))
        for key in ("categories", "images"):
            ids = Counter(one["id"] for one in content[key])
            if twice := [number for number, count in ids.items() if count > 1]:
                raise SourceError(
                    f"{file} gives the id {twice[0]!r} to several {key}, and {len(twice) - 1} other ids, too: it cannot"
                    " be known what is in which image. Give each an id of its own."
                )
        names = {one["id"]: str(one["name"]).strip() for one in content["categories"]}
        files = {one["id"]: str(one["file_name"]) for one in content["images"]}
        found: dict[str, set[str]] = {name: set() for name in files.values()}
        for one in content["annotations"]:
            found[files[one["image_id"]]].add(names[one["category_id"]])
    except SourceError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(
            f"{file} is not in COCO's layout: {type(error).__name__}: {error}. Allowed is UTF-8 JSON with the keys"
            f" {list(KEYS)}, whose annotations name images and categories that are there. Export it again."
        ) from None
    if parted := sorted(name for name in names.values() if PRESENT in name):
        raise SourceError(f"{file} has the categories {parted}; names of tags hold no {PRESENT!r}. Rename them there.")
    return found
