"""What a source holds, known before any image is opened: files, their raw text columns, and what was skipped."""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from meltpoint.errors import UserError

if TYPE_CHECKING:  # the stage that looks for changes runs each time, and does without
    import pandas as pd

SHOWN = 20  # names that a message lists
SEARCHED = 100_000  # files of a folder that are looked through for a name
LONGEST_NAME = 255  # bytes of one folder or file name, on every common file system
LONGEST_PATH = 2048  # bytes; leaves room for the folder that it is put into


class SourceError(UserError, ValueError):
    """A source cannot be read as params.yaml describes it."""


class PathError(UserError, ValueError):
    """A path is not relative, leaves its folder, or cannot be written on every file system."""


@dataclass(frozen=True)
class Skipped:
    """A path that makes no sample, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ListCoverage:
    """Of one class in a published list: its lines, and how many of their images are here (links die)."""

    lines: int
    images: int


@dataclass(frozen=True)
class Listing:
    """A source, read.

    title: the name of the source for people; it names no place outside the repository.
    files: columns path (posix, relative; the picture's name in data/raw), origin (the absolute path to read from, which
        may not exist) and split (train, val, test or missing), all pandas strings.
    columns: the raw columns as stripped text, row by row with `files`; empty text where a cell is empty.
    unusable: files that cannot even be named in a table.
    ignored: files that are no samples by their place or name.
    notes: for readers of the report.
    coverage: by class, where the source has a published list; lines without an image are in none of the others.
    stated: columns whose cells are names of folders or files, and never missing: a folder may be called `nan`.
    class_warning: why `columns` are most likely not the classes; an error, unless params list classes.
    """

    title: str
    files: "pd.DataFrame"
    columns: "pd.DataFrame"
    unusable: list[Skipped] = field(default_factory=list)
    ignored: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    coverage: dict[str, ListCoverage] = field(default_factory=dict)
    stated: tuple[str, ...] = ()
    class_warning: str | None = None


def files_table(paths: Sequence[str], origins: Sequence[str], splits: Sequence[str | None]) -> "pd.DataFrame":
    """The `files` of a Listing."""
    import pandas as pd

    return pd.DataFrame({"path": paths, "origin": origins, "split": splits}, dtype="string")


def repository() -> Path:
    """The real repository: `dvc exp run --temp` works in a temporary copy, and names the original in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).absolute()


def locate(path: str, key: str = "data.source") -> Path:
    """The absolute path of something that params.yaml names, relative to the working directory or to the repository.

    `key` is where params.yaml names it.

    Raises:
        SourceError: it is in neither; the message names the nearest thing that is there.
    """
    given = Path(path).expanduser()
    places = list(dict.fromkeys([Path.cwd() / given, repository() / given]))
    for place in places:
        if place.exists():
            return place
    looked = " and ".join(str(place) for place in places)
    siblings = [entry.name for place in places if place.parent.is_dir() for entry in place.parent.iterdir()]
    raise SourceError(
        f"There is no {path!r}; looked for {looked}.{nearest(given.name, siblings)} "
        f"A relative path starts at the folder of params.yaml; correct it under {key}."
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint to end a message with: the nearest known name, or nothing."""
    by_folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.5)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""


def nearest_file(path: Path) -> Path | None:
    """The file most like one that does not exist: of its name with another suffix, or with a name that is near.

    It is looked for in the folder of `path`, or the nearest one above it that is there, and in a folder of a near name.
    """
    folder = next(above for above in path.parents if above.is_dir())
    held = {entry.name: entry for entry in sorted(islice(folder.iterdir(), SEARCHED)) if not entry.name.startswith(".")}
    wanted, *rest = path.relative_to(folder).parts
    same = [entry for entry in held.values() if entry.stem == Path(wanted).stem or entry.stem == wanted]
    near = difflib.get_close_matches(wanted.casefold(), [name.casefold() for name in held], n=1, cutoff=0.6)
    found = next(iter(same), None) or next((one for name, one in held.items() if [name.casefold()] == near), None)
    if found is None or not rest or not found.is_dir():
        return found
    deeper = found.joinpath(*rest)
    return deeper if deeper.exists() else nearest_file(deeper) or found


def tail_in(folder: Path, path: str) -> tuple[str, str] | None:
    """The longest end of a path that is a file in `folder`, and what comes before it; None if none is.

    So a message can help with paths that start at another folder, or were written on another machine.
    """
    slashed = path.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".", "..")]
    ends = ["/".join(parts[place:]) for place in range(len(parts))]
    found = next((end for end in ends if end and is_there(folder / end)), None)
    return (found, slashed.removesuffix(found)) if found else None


def is_there(path: Path) -> bool:
    """Whether a path is a file; one that no file system can hold is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def shortened(names: Iterable[str]) -> str:
    """A list of names as a message shows it: all of a few, the first of many."""
    shown = list(names)
    rest = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return f"{shown[:SHOWN]}{rest}"


def plain_path(name: str) -> str:
    """A relative path with forward slashes, without `.` and empty parts: `.\\a//b.png` becomes `a/b.png`.

    Raises:
        PathError: it is absolute, has a drive letter or `..`, is empty, too long, or no Unicode text.
    """
    slashed = name.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    flaws = {
        "is empty": not parts,
        "is absolute": slashed.startswith("/"),
        "leaves its folder": ".." in parts,
        "has a drive letter": any(re.match(r"[A-Za-z]:", part) for part in parts),
        "holds a NUL character": "\0" in slashed,
        "is not UTF-8": not is_text(slashed),
        "is too long": len(slashed.encode("utf-8", "replace")) > LONGEST_PATH
        or any(len(part.encode("utf-8", "replace")) > LONGEST_NAME for part in parts),
    }
    if flaw := next((flaw for flaw, found in flaws.items() if found), None):
        raise PathError(f"the path {printable(name)!r} {flaw}; only relative paths inside the dataset are allowed")
    return str(PurePosixPath(*parts))


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8 (file systems hold names that cannot)."""
    return name == printable(name)


def printable(name: str) -> str:
    """The name with each byte that is no UTF-8 as an escape."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
