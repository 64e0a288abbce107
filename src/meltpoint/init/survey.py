"""Recognises the layout of what lies at a path, or says what is there and what is allowed."""

import os
from collections import Counter
from importlib import import_module
from itertools import islice
from pathlib import Path

from meltpoint.data.listing import is_text, nearest, printable
from meltpoint.images.formats import START, RefusedError, check_start
from meltpoint.init.found import Found, InitError, plural
from meltpoint.init.pictures import is_picture
from meltpoint.signatures import is_image

# In this order: each knows more of what it looks for than the next.
LAYOUTS = ("shards", "archive", "coco", "voc", "masks", "table", "folder")
LOOKED = 200  # files whose first bytes are looked at
ALLOWED = (
    "Allowed are a folder of class folders, with or without train, val and test above them; a table (csv, tsv) with a"
    " column of image paths; folders of images and of masks; COCO and PASCAL VOC layouts; a zip or tar of class"
    " folders or of a table; tar shards as WebDataset writes them; Parquet with pictures in it."
)


def survey(path: Path, label: str | None) -> Found:
    """What lies at `path`; `label`: the name of the label, or the column, that is asked for.

    Raises:
        InitError: nothing is there, or nothing that is known.
        UserError: it is known, and has an error that the pipeline would refuse.
    """
    place = path.expanduser()
    if not place.exists():
        known = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
        raise InitError(f"There is no {str(path)!r}.{nearest(place.name, known)} Name a folder, a table or an archive.")
    if not is_text(str(place.absolute())):
        raise InitError(f"The path {printable(str(path))!r} is not UTF-8, and params.yaml cannot name it. Rename it.")
    for kind in LAYOUTS:
        found: Found | None = import_module(f"meltpoint.init.layouts.{kind}").find(place, label)
        if found is not None:
            return found
    raise InitError(f"{path} {_describe(place)} {ALLOWED}")


def _describe(place: Path) -> str:
    """What is there, in a sentence."""
    if place.is_file():
        single = "is a single picture, and one alone teaches nothing."
        return single if is_picture(place) else "is a file of no known kind."
    entries = [entry for entry in sorted(place.iterdir()) if not entry.name.startswith(".")]
    if not entries:
        return "is an empty folder."
    pictures = [entry for entry in entries if entry.is_file() and is_picture(entry)]
    if pictures:
        return (
            f"holds {plural(len(pictures), 'picture')} and nothing that says what they show. Sort them into a folder"
            " for each class, or put a table beside them with a column of file names and one of classes."
        )
    folders = sum(entry.is_dir() for entry in entries)
    content = f"{plural(folders, 'folder')} and {plural(len(entries) - folders, 'file')}"
    files = (Path(at, name) for at, _, names in os.walk(place) for name in sorted(names))
    kinds = Counter(kind for path in islice(files, LOOKED) if (kind := _format_of(path)))
    by_start = "; ".join(f"{plural(count, 'file')}: {kind}" for kind, count in kinds.most_common(3))
    hint = f" By their first bytes there are {by_start}." if by_start else ""
    return f"holds {content}, and no pictures that are known.{hint}"


def _format_of(path: Path) -> str | None:
    """Of a file that is a picture by its first bytes, not by its suffix: its format, and what reads it."""
    try:
        with path.open("rb") as file:
            start = file.read(START)
        check_start(start)
    except RefusedError as error:
        return str(error.args[0]) if start else None
    except OSError:
        return None
    wrong = f"pictures called {path.suffix or 'without a suffix'}: rename them by their format"
    return wrong if is_image(start) else None
