"""The entries of folders; and which folders most likely are no classes, but splits, folds or what the classes lie in.

Entries are sorted by name. Hidden ones, and what desktops leave behind, are junk.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from meltpoint.data.listing import SourceError, printable, shortened
from meltpoint.data.split_names import split_and_rest

JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
# Of files that are pictures, whether or not they can be read here.
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".ppm", ".pgm",
    ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp", ".ico", ".tga",
    ".dcm", ".dicom", ".exr", ".hdr", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
}  # fmt: skip
DEEP = 8  # folders, each the only thing in the one above, that are stepped through


@dataclass
class Held:
    """What is in the folders of one class: whether there are pictures, and which folders."""

    pictures: bool = False
    folders: dict[str, str] = field(default_factory=dict)  # as a message shows them, by their name without capitals


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """Files and folders by name.

    Raises:
        SourceError: the folder may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError:
        raise SourceError(f"There is no permission to read the folder {printable(folder)!r}. Grant it.") from None


def is_junk(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is hidden or left by a desktop."""
    return entry.name.startswith(".") or entry.name in JUNK


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one, of the data."""
    return entry.is_dir() and not is_junk(entry)


def find_class_warning(root: Path, folders: Iterable[str]) -> str | None:
    """Why folders taken for classes most likely are not classes; None if there is no sign of it.

    A folder that holds only one folder is replaced by that one first. There are three signs. Most of them hold no
    picture and mostly the same folders, two at least (a class may be parted into folders). Or one holds no picture and
    mostly folders with the names of the classes. Or their names differ in a word for a split, as `seg_train` and
    `seg_test`.
    """
    classes: dict[str, Held] = {}
    for folder in folders:
        held, entries = classes.setdefault(Path(folder).name, Held()), entries_of(folder)
        for _ in range(DEEP):
            if (single := single_folder(entries)) is None:
                break
            entries = entries_of(single)
        held.pictures |= any(_is_picture(entry) for entry in entries)
        held.folders |= {entry.name.casefold(): printable(entry.name) for entry in entries if is_folder(entry)}
    bare = {name: frozenset(held.folders) for name, held in classes.items() if held.folders and not held.pictures}
    kinds = Counter(bare.values())
    known = {one for one in kinds if any(_are_alike(one, other) for other in kinds if other != one or kinds[one] > 1)}
    alike = [name for name, inside in bare.items() if inside in known]
    if len(alike) < 2 or 2 * len(alike) <= len(classes):
        names = frozenset(name.casefold() for name in classes)
        alike = [name for name, inside in bare.items() if _are_alike(inside, names)]
    if alike:
        inside = sorted({name for one in alike for name in classes[one].folders.values()})
        shown = "they" if len(alike) == len(classes) else f"of these {shortened(map(printable, alike))}"
        why = f"and {shown} hold only folders with mostly equal names: {shortened(inside)}. Most likely those are"
        why += " the classes."
    elif splits := _splits(classes):
        why = f"and {splits} are most likely parts of one dataset, not classes."
    else:
        return None
    return (
        f"The folders of {printable(root.name)!r} that would be classes are {shortened(map(printable, classes))}, {why}"
        " Rename the folders above the classes to train, val and test, or set data.source.path one folder deeper, or"
        " use `kind: csv`; if they are classes after all, list them under `classes` of the label."
    )


def single_folder(entries: list[os.DirEntry[str]]) -> str | None:
    """The one folder among the entries of a folder that holds no picture and no other folder; None if it is not so."""
    inside = [entry.path for entry in entries if is_folder(entry)]
    return inside[0] if len(inside) == 1 and not any(_is_picture(entry) for entry in entries) else None


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir()  # noqa: PTH122 - no Path for each


def _are_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    common = len(one & other)
    return common >= 2 and 2 * common > min(len(one), len(other))


def _splits(names: Iterable[str]) -> list[str]:
    """Names that are equal but for their word for a split, where they name several splits."""
    alike: dict[str, dict[str, str]] = {}
    for name in names:
        if parted := split_and_rest(name):
            alike.setdefault(parted[1], {})[printable(name)] = parted[0]
    return next((list(group) for group in alike.values() if len(set(group.values())) > 1), [])
