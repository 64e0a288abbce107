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


def find(root: Path, wanted: str | None) -> Found | None:
    """Class folders at `root`, or in the only folder in it; None if there are no folders with images.

    Raises:
        SourceError: split folders and class folders are mixed.
        InitError: there is one class alone.
    """
    if not root.is_dir():
        return None
    inner = unwrapped(root)
    if not any(holds_pictures(folder) for folder in folders_in(inner)):
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
    if len(inside) == 1 and not has_files(root) and folders_in(inside[0]):
        return unwrapped(inside[0])
    return root


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones and what desktops leave behind."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        raise SourceError(f"There is no permission to read the folder {str(folder)!r}. Grant it.") from None
    hidden = (".", "__MACOSX")
    return [Path(entry) for entry in entries if entry.is_dir() and not entry.name.startswith(hidden)]


def has_files(folder: Path) -> bool:
    """Whether pictures or tables lie in a folder itself."""
    known = {".csv", ".tsv", ".json", ".parquet"}
    return any(is_picture(path) or path.suffix.lower() in known for path in folder.iterdir() if is_text(path.name))


def holds_pictures(folder: Path) -> bool:
    """Whether a folder, or one below it, has a picture among its first files."""
    return any(any(is_picture(Path(place, name)) for name in files[:LOOKED]) for place, _, files in os.walk(folder))
