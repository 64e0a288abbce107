"""Source kind `folder`: class folders, with or without train/val/test folders above them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from meltpoint.data.class_folders import DEEP, entries_of, find_class_warning, is_folder, is_junk, single_folder
from meltpoint.data.listing import (
    Listing,
    PathError,
    Skipped,
    SourceError,
    files_table,
    is_text,
    locate,
    plain_path,
    printable,
)
from meltpoint.data.split_names import FILLERS, official_split, split_in
from meltpoint.params.sources import FolderSource


@dataclass
class Walk:
    """What one walk over the folder has found so far; every entry ends up in exactly one of the lists."""

    root: Path
    rows: list[tuple[str, str, str | None, str]] = field(default_factory=list)  # path, origin, split, what it shows
    unusable: list[Skipped] = field(default_factory=list)
    ignored: list[Skipped] = field(default_factory=list)

    def name(self, path: str) -> str:
        """The path below the root, as a message shows it."""
        return printable(os.path.relpath(path, self.root).replace(os.sep, "/"))

    def ignore(self, path: str, reason: str) -> None:
        """An entry that is no sample by its place or name."""
        self.ignored.append(Skipped(self.name(path), reason))

    def add(self, path: str, split: str | None, label: str) -> None:
        """A file and its class, or its mask; its name may be one that cannot be put in a table."""
        relative = os.path.relpath(path, self.root).replace(os.sep, "/")
        try:
            plain = plain_path(relative)
        except PathError as error:
            self.unusable.append(Skipped(printable(relative), str(error)))
            return
        if plain == relative:
            self.rows.append((relative, path, split, label))
        else:
            self.unusable.append(Skipped(relative, "a backslash in its name"))


def read(source: FolderSource, work: Path) -> Listing:  # noqa: ARG001  (every source takes a scratch folder)
    """List the files below class folders, at any depth, with the columns `class` and `split`.

    Hidden files, what desktops leave behind, and files outside class folders are listed as ignored. Links are followed.

    Raises:
        SourceError: there is no such folder, no class folder in it, or a mixture of split and class folders.
    """
    root = locate(source.path)
    if not root.is_dir():
        raise SourceError(
            f"data.source.path is {source.path!r}, which is a file. Name the folder that holds class folders."
        )
    walk = Walk(root)
    folders = _class_folders(walk)
    for folder, split in folders:
        label = Path(folder).name
        files = list(files_below(walk, folder, (os.path.realpath(folder),)))
        for path in files:
            walk.add(path, split, label)
        if not files:
            walk.ignore(folder, "a class folder without files")
    paths, origins, splits, labels = zip(*walk.rows, strict=True) if walk.rows else ((), (), (), ())
    columns = pd.DataFrame({"class": labels}, dtype="string")
    return Listing(
        title=f"folder {source.path}",
        files=files_table(paths, origins, splits),
        columns=columns,
        unusable=walk.unusable,
        ignored=walk.ignored,
        stated=("class",),
        class_warning=find_class_warning(root, [folder for folder, _ in folders]),
    )


def _class_folders(walk: Walk) -> list[tuple[str, str | None]]:
    """The class folders, each with its split or None."""
    children = _folders(walk, str(walk.root))
    splits = _split_folders(walk.root, children)
    if not splits:
        found: list[tuple[str, str | None]] = [(child, None) for child in children]
    else:
        inner = [(_split_root(child, split), split) for child, split in splits.items()]
        found = [(folder, split) for child, split in inner for folder in _folders(walk, child)]
    if not found:
        raise SourceError(
            f"The folder {walk.root.name!r} holds no class folders. Allowed is CLASS/IMAGE or SPLIT/CLASS/IMAGE, where "
            "SPLIT is train, val or test. Sort the images into a folder for each class, or use `kind: csv`."
        )
    for folder, _ in found:
        if not is_text(Path(folder).name):
            raise SourceError(f"The class folder {walk.name(folder)!r} has a name that is not UTF-8. Rename it.")
    return found


def _split_folders(root: Path, children: list[str]) -> dict[str, str]:
    """The children that are splits, by path; empty when the children are classes (a class may be called `train`)."""
    named = {child: split for child in children if (split := official_split(Path(child).name))}
    above = {child: split for child, split in named.items() if any(is_folder(entry) for entry in entries_of(child))}
    if not above:
        if named and len(named) == len(children):
            raise SourceError(
                f"{root.name!r} holds only {_names(named)}, and no class folders in them. Allowed is "
                "SPLIT/CLASS/IMAGE. Sort the images into a folder for each class, or use `kind: csv`."
            )
        return {}
    others = [child for child in children if child not in above]
    if others:
        raise SourceError(
            f"{root.name!r} mixes split folders {_names(above)} with others: {_names(others)}. Allowed are either "
            "split folders or class folders. Move the others away, or rename those that are splits to train, val and "
            "test, or set data.source.path one folder deeper."
        )
    if len(set(above.values())) < len(above):
        raise SourceError(
            f"{root.name!r} names one split twice: {_names(above)} are {sorted(above.values())}. Keep one folder for "
            "each split."
        )
    return above


def _split_root(folder: str, split: str) -> str:
    """The folder that holds the classes of a split: itself, or the only one in it with the name of the split again.

    As in `train/train/CLASS` and `train/images/CLASS`, where an archive was unpacked into a folder of its name.
    """
    inner = folder
    for _ in range(DEEP):  # a link may lead into a circle
        single = single_folder(entries_of(inner))
        name = Path(single).name if single else ""
        again = name.casefold() in (Path(inner).name.casefold(), *FILLERS) or split_in(name) == split
        if single is None or not again or not any(is_folder(entry) for entry in entries_of(single)):
            return inner
        inner = single
    return folder


def _folders(walk: Walk, folder: str) -> list[str]:
    """The folders in a folder; whatever else is there belongs to no class."""
    found = []
    for entry in entries_of(folder):
        if is_folder(entry):
            found.append(entry.path)
        else:
            walk.ignore(entry.path, "hidden or left by a desktop" if is_junk(entry) else "in no class folder")
    return found


def files_below(walk: Walk, folder: str, above: tuple[str, ...]) -> Iterator[str]:
    """Every file at any depth, sorted; `above` are the real paths of the folders on the way, to end circles."""
    for entry in entries_of(folder):
        if is_junk(entry):
            walk.ignore(entry.path, "hidden or left by a desktop")
        elif not entry.is_dir():
            yield entry.path
        elif (real := os.path.realpath(entry.path)) in above:
            walk.ignore(entry.path, "a link to a folder above it")
        else:
            yield from files_below(walk, entry.path, (*above, real))


def _names(paths: list[str] | dict[str, str]) -> list[str]:
    return [printable(Path(path).name) for path in paths]
