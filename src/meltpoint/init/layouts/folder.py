"""Class folders, with or without folders of splits above them."""

import os
from pathlib import Path

from meltpoint.data.listing import SourceError, is_text
from meltpoint.init.found import (
    Found,
    InitError,
    data_name,
    label_cells,
    label_name,
    plural,
    read_listing,
    shown_path,
)
from meltpoint.init.pictures import is_picture

LOOKED = 200  # files of a folder that are looked at
TABLES = {".csv", ".tsv", ".json", ".parquet"}


def find(root: Path, wanted: str | None) -> Found | None:
    """Class folders at `root`, or in the only folder in it; None if there are no folders with images.

    Raises:
        SourceError: split folders and class folders are mixed.
        InitError: there is one class alone.
    """
    if not root.is_dir():
        return None
    inner = unwrapped(root)
    files = (Path(at, one) for top in folders_in(inner) for at, _, names in os.walk(top) for one in names[:LOOKED])
    if not any(is_picture(file) for file in files):
        return None
    source = {"kind": "folder", "path": shown_path(inner)}
    listing = read_listing(source)
    label = label_name(wanted or data_name(inner))
    labels = {label: {"kind": "names", "column": "class", "classes": None}}
    cells, classes = label_cells(listing, labels)
    if len(classes[label]) < 2:
        raise InitError(
            f"{inner} has one class alone, {classes[label][0]!r} with {plural(len(listing.files), 'image')}. A label"
            " needs two classes: a folder for each. Name the folder that holds the folders of classes."
        )
    split = listing.files["split"].notna().any()
    return Found(
        layout="class folders below folders of splits" if split else "class folders",
        name=data_name(inner),
        source=source,
        labels=labels,
        main=label,
        listing=listing,
        cells=cells,
        classes=classes,
        notes=[f"the data lie in {inner.name}/, the only folder there"] if inner != root else [],
    )


def unwrapped(root: Path) -> Path:
    """`root`, or what lies below it where each folder on the way holds one folder with folders, and no picture."""
    inside = folders_in(root)
    files = [path for path in root.iterdir() if is_text(path.name)]
    if any(is_picture(path) or path.suffix.lower() in TABLES for path in files):
        return root
    return unwrapped(inside[0]) if len(inside) == 1 and folders_in(inside[0]) else root


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones and what desktops leave behind."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        raise SourceError(f"There is no permission to read the folder {str(folder)!r}. Grant it.") from None
    hidden = (".", "__MACOSX")
    return [Path(entry) for entry in entries if entry.is_dir() and not entry.name.startswith(hidden)]
