"""Objects that were marked on images become labels of whole images: their one category, or a yes and no for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meltpoint.data.listing import nearest, shortened
from meltpoint.init.columns import Columns, check_alike, stated_label, tag_columns
from meltpoint.init.found import (
    Found,
    InitError,
    Wish,
    data_name,
    label_cells,
    label_name,
    made_table,
    plural,
    shown_path,
    table_place,
)

SUPER = "supercategory"  # the label of what is above categories
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
        columns = _of_one(images, above, beside, wish, top)
        bare = sum(not image.categories for image in images)
        says = [*says, "each image has objects of one category: that is its label"]
        says += [f"{plural(bare, 'image')} without an object: no part in training"] if bare else []
    else:
        columns = tag_columns(_tags(images, wish), beside, split, None, "an image")
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


def _tags(images: Sequence[Marked], wish: Wish) -> list[set[str]]:
    """The categories of each image; of these the one alone that is asked for.

    Raises:
        InitError: it is none.
    """
    if wish.label is None:
        return [set(image.categories) for image in images]
    known = sorted({name for image in images for name in image.categories})
    found = {name for name in known if wish.label.casefold() == name.casefold()}
    if not found:
        raise InitError(
            f"--label is {wish.label!r}, and images have several categories each, of which none is called so; there are"
            f" {shortened(known)}.{nearest(wish.label, known)} Name one of them, or leave --label out for all."
        )
    return [set(image.categories & found) for image in images]


def _of_one(images: Sequence[Marked], above: dict[str, str], beside: pd.DataFrame, wish: Wish, top: Path) -> Columns:
    """The category as a label called as the folder, and above it the supercategory where that parts it more coarsely.

    Raises:
        InitError: there is one category alone.
        LabelError: two look the same.
    """
    categories = [next(iter(image.categories), "") for image in images]
    present = sorted({one for one in categories if one})
    if len(present) < 2:
        raise InitError(
            f"{top} marks one category alone, {present[0]!r}. A label needs two classes at least: add images of another"
            " one."
        )
    check_alike(present)
    name = label_name(wish.label or data_name(top))
    name = f"{name}_label" if name == SUPER else name
    columns, levels = {name: categories}, []
    kinds = {above.get(one, "") for one in present}
    if "" not in kinds and 1 < len(kinds) < len(present):
        columns[SUPER] = [above.get(one, "") for one in categories]
        levels = [SUPER, name]
    labels = {column: stated_label(column, cells) for column, cells in columns.items()}
    rows = beside.join(pd.DataFrame(columns)).astype("string")
    return Columns(labels, name, "split" if "split" in rows else None, None, levels, rows, [])
