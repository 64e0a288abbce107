"""Recognises the layout of what lies at a path, or says what is there and what is allowed."""

import os
from collections import Counter
from importlib import import_module
from itertools import islice
from pathlib import Path

from meltpoint.data.listing import is_text, nearest, printable
from meltpoint.images.formats import START, RefusedError, check_start
from meltpoint.init.found import Found, InitError, Wish, plural
from meltpoint.init.pictures import is_picture
from meltpoint.signatures import is_image

LAYOUTS = (
    "archive",
    "coco",
    "voc",
    "masks",
    "table",
    "folder",
)  # in this order: each knows more of what it looks for than the next
LOOKED = 200  # files whose first bytes are looked at
ALLOWED = (
    "Allowed are a folder of class folders, with or without train, val and test above them; a table (csv, tsv) with a"
    " column of image paths; folders of images and of masks; COCO and PASCAL VOC layouts; a zip or tar of class"
    " folders or of a table."
)


def survey(path: Path, wish: Wish) -> Found:
    """What lies at `path`.

    Raises:
        InitError: nothing is there, or nothing that is known.
        UserError: it is known, and has a flaw that the pipeline would refuse.
    """
    place = path.expanduser()
    if not place.exists():
        known = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
        raise InitError(f"There is no {str(path)!r}.{nearest(place.name, known)} Name a folder, a table or an archive.")
    if not is_text(str(place.absolute())):
        raise InitError(f"The path {printable(str(path))!r} is not UTF-8, and params.yaml cannot name it. Rename it.")
    for kind in LAYOUTS:
        found: Found | None = import_module(f"meltpoint.init.layouts.{kind}").find(place, wish)
        if found is not None:
            return found
    raise InitError(f"{path} {_held(place)} {ALLOWED}")


def _held(place: Path) -> str:
    """What is there, in a sentence."""
    if place.is_file():
        return (
            "is a single picture, and one alone teaches nothing."
            if is_picture(place)
            else "is a file of no known kind."
        )
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
    held = f"{plural(folders, 'folder')} and {plural(len(entries) - folders, 'file')}"
    return f"holds {held}, and no pictures that are known.{_unread(place)}"


def _unread(folder: Path) -> str:
    """Of files that are pictures by their first bytes, which format they are and what reads it, as a sentence."""
    found: Counter[str] = Counter()
    for path in islice((Path(at, name) for at, _, names in os.walk(folder) for name in sorted(names)), LOOKED):
        if kind := _kind(path):
            found[kind] += 1
    told = "; ".join(f"{plural(count, 'file')}: {kind}" for kind, count in found.most_common(3))
    return f" By their first bytes there are {told}." if told else ""


def _kind(path: Path) -> str | None:
    """What a file without the suffix of a picture is, if it is one."""
    try:
        with path.open("rb") as file:
            start = file.read(START)
        check_start(start)
    except RefusedError as error:
        return str(error.args[0]) if start else None
    except OSError:
        return None
    return (
        f"pictures called {path.suffix or 'without a suffix'}: rename them by their format" if is_image(start) else None
    )
