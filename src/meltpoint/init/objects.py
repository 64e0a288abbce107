"""Objects that were marked on images become labels of whole images: their one category, or all of them as tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meltpoint.data.listing import nearest, shortened
from meltpoint.init.columns import Columns, check_alike, stated_label, tag_column, yes_or_no
from meltpoint.init.found import (
    Found,
    InitError,
    data_name,
    label_cells,
    label_name,
    make_table,
    plural,
    shown_path,
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
    wanted: str | None,
    notes: list[str],
    warnings: list[str],
) -> Found:
    """A table of images with the categories of their objects; `above` is the one above each category.

    Raises:
        InitError: nothing is marked, nothing that divides the images, or no category is called `wanted`.
    """
    if not any(image.categories for image in images):
        raise InitError(f"{top} marks no object on any of {plural(len(images), 'image')}: nothing says what they show.")
    split = "split" if any(image.split for image in images) else None
    beside = pd.DataFrame({"split": [image.split or "" for image in images]})[[split] if split else []]
    if max(len(image.categories) for image in images) == 1:
        columns = _of_one(images, above, beside, wanted, top)
        bare = sum(not image.categories for image in images)
        notes = [*notes, "each image has objects of one category: that is its label"]
        notes += [f"{plural(bare, 'image')} without an object: no part in training"] if bare else []
    else:
        tags = [set(image.categories) for image in images]
        if wanted is None:
            columns = tag_column(tags, beside, "tags", str(top))
        else:
            known = sorted(set().union(*tags))
            asked = next((name for name in known if wanted.casefold() == name.casefold()), None)
            if asked is None:
                raise InitError(
                    f"--label is {wanted!r}, and images have several categories each, none with this name; there are"
                    f" {shortened(known)}.{nearest(wanted, known)} Name one of them, or leave --label out for all."
                )
            columns = yes_or_no(asked, [asked in own for own in tags], beside)
    assert columns.rows is not None
    rows = columns.rows.assign(path=[image.path for image in images])
    rows = rows[["path", *(column for column in rows if column != "path")]]
    name = data_name(top)
    table, source = make_table(name, rows, {"kind": "csv", "images": shown_path(top), "path": "path", "split": split})
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
        task=columns.task,
        table=table,
        notes=[*notes, *columns.notes, UNUSED],
        warnings=warnings,
    )


def _of_one(
    images: Sequence[Marked], above: dict[str, str], beside: pd.DataFrame, wanted: str | None, top: Path
) -> Columns:
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
    name = label_name(wanted or data_name(top))
    name = f"{name}_label" if name == SUPER else name
    columns, levels = {name: categories}, []
    kinds = {above.get(one, "") for one in present}
    if "" not in kinds and 1 < len(kinds) < len(present):
        columns[SUPER] = [above.get(one, "") for one in categories]
        levels = [SUPER, name]
    labels = {column: stated_label(column, cells) for column, cells in columns.items()}
    rows = beside.join(pd.DataFrame(columns)).astype("string")
    return Columns(labels, name, rows, [], levels)
