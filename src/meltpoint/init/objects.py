"""Objects that were marked on images become labels of whole images: their one category, or a yes and no for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.init.columns import Columns, read_columns, tag_columns
from meltpoint.init.found import (
    Found,
    InitError,
    Wish,
    data_name,
    label_cells,
    made_table,
    plural,
    shown_path,
    table_place,
)

UNUSED = "where the objects are is not used: a label says what a whole image shows"


@dataclass(frozen=True)
class Marked:
    """An image, relative to the folder of all; its split, and the categories of what was marked on it."""

    path: str
    split: str | None
    categories: frozenset[str]


def of_objects(
    layout: str,
    top: Path,
    images: Sequence[Marked],
    above: dict[str, str],
    wish: Wish,
    says: list[str],
    warns: list[str],
) -> Found:
    """A table of images with the categories of their objects; `above` is the one above each category.

    Raises:
        InitError: nothing is marked, or nothing that parts the images.
    """
    if not any(image.categories for image in images):
        raise InitError(f"{top} marks no object on any of {plural(len(images), 'image')}: nothing says what they show.")
    brought = any(image.split for image in images)
    beside = pd.DataFrame(
        {"split": [image.split or "" for image in images]} if brought else {"row": range(len(images))}
    )
    beside = beside if brought else beside[[]]
    split = "split" if brought else None
    if max(len(image.categories) for image in images) == 1:
        columns = _of_one(images, above, beside, wish, layout)
        bare = sum(not image.categories for image in images)
        says = [*says, "each image has objects of one category: that is its label"]
        says += [f"{plural(bare, 'image')} without an object: no part in training"] if bare else []
    else:
        columns = tag_columns([set(image.categories) for image in images], beside, split, None, "an image")
    assert columns.rows is not None
    rows = columns.rows.assign(path=[image.path for image in images])
    rows = rows[["path", *(column for column in rows if column != "path")]]
    name = data_name(top)
    place = {"kind": "csv", "images": shown_path(top), "path": "path", "split": split}
    table, source = made_table(table_place(wish, name), rows, place)
    cells, classes = label_cells(table.listing, columns.labels)
    return Found(
        layout=layout,
        name=name,
        source=source,
        labels=columns.labels,
        main=columns.main,
        listing=table.listing,
        cells=cells,
        classes=classes,
        levels=columns.levels,
        table=table,
        says=[*says, *columns.says, UNUSED],
        warns=warns,
    )


def _of_one(images: Sequence[Marked], above: dict[str, str], beside: pd.DataFrame, wish: Wish, layout: str) -> Columns:
    """The category as a label, and below the one above it where that says more."""
    categories = [next(iter(image.categories), "") for image in images]
    label: dict[str, Any] = {"category": categories}
    if len({above.get(one, "") for one in categories if one}) > 1:
        label["supercategory"] = [above.get(one, "") for one in categories]
    table = pd.DataFrame(label, dtype="string")
    found = read_columns(table, wish.label, layout)
    rows = beside.join(table).astype("string")
    return Columns(found.labels, found.main, "split" if "split" in rows else None, None, found.levels, rows, [])
