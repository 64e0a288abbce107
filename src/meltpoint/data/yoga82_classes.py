"""The table of the classes of Yoga-82 in the forms found on the web: a CSV of ids and names, or a line for a class."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meltpoint.data.delimited import read_text
from meltpoint.data.listing import SourceError, nearest

KEY = "data.source.classes"
LEVELS = ("l6", "l20", "l82")
ALLOWED = (
    "Allowed are a CSV whose first line names the columns folder, l6, l20 and l82 (level6 names the six, others are "
    "free), or a line `ID NAME` or `ID,NAME,...` for each class, or one NAME for each class in the order of ids."
)
NUMBERED = re.compile(r"(\d+)(?:\s*[,;:.\t]\s*|\s+)(\S.*)")  # `8,Chair pose,椅子式`, `8 Chair pose`, `8: Chair pose`


@dataclass(frozen=True)
class Poses:
    """What a table holds about the classes.

    names: of each level (l6, l20, l82) id to name, as far as the table knows.
    parents: (l6, l20) of each l82; empty where the table has no ids of other levels.
    folders: the id l82 of each folder; empty where the table names none.
    """

    names: dict[str, dict[int, str]]
    parents: dict[int, tuple[int, int]]
    folders: dict[str, int]


def read_poses(path: Path) -> tuple[Poses, list[str]]:
    """The table of classes, and notes on how it was read.

    Raises:
        SourceError: it has none of the known forms, or contradicts itself.
    """
    text, notes = read_text(path, KEY)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    separator = max(",;\t", key=lines[0].count)
    columns = [cell.strip().casefold() for cell in lines[0].split(separator)]
    if "l82" in columns:
        return _from_columns(lines[1:], separator, columns, path.name), notes
    return _from_lines(lines, path.name), notes


def name_ids(ids: pd.Series, names: dict[int, str], kind: str) -> "pd.Series[str]":
    """Ids as names; an id without one is `kind` and the id, with zeros in front so that names sort like ids."""
    width = len(str(ids.max()))
    known = {one: names.get(one, f"{kind} {one:0{width}}".strip()) for one in ids.unique()}
    return ids.map(known).astype("string")


def _from_columns(lines: list[str], separator: str, columns: list[str], name: str) -> Poses:
    missing = [column for column in ("folder", *LEVELS) if column not in columns]
    if missing:
        raise _error(f"{name} has the columns {columns}, and lacks {missing}.{nearest(missing[0], columns)}")
    names: dict[str, dict[int, str]] = {level: {} for level in LEVELS}
    parents: dict[int, tuple[int, int]] = {}
    folders: dict[str, int] = {}
    for number, cells in enumerate(csv.reader(lines, delimiter=separator), start=2):
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
        if len(cells) != len(columns) or not all(row[level].isdecimal() for level in LEVELS):
            raise _error(f"Line {number} of {name} is {cells}, and the columns are {columns}; ids are whole numbers.")
        l6, l20, l82 = (int(row[level]) for level in LEVELS)
        if l82 in parents or row["folder"] in folders:
            raise _error(f"Line {number} of {name} has the class {l82} or the folder {row['folder']!r} a second time.")
        parents[l82], folders[row["folder"]], names["l82"][l82] = (l6, l20), l82, row["folder"]
        for level, own in (("l6", l6), ("l20", l20)):
            given = row.get(level.replace("l", "level"), "")
            if given and (first := names[level].setdefault(own, given)) != given:
                raise _error(
                    f"Line {number} of {name} calls the id {own} {given!r}, and an earlier line calls it {first!r}."
                )
    return Poses(names, parents, folders)


def _from_lines(lines: list[str], name: str) -> Poses:
    """`ID NAME` or `ID,NAME,...`; or names alone, if no line begins with a number."""
    matches = [NUMBERED.fullmatch(line) for line in lines]
    if not any(matches):
        named = dict(enumerate(lines))
    else:
        wrong = next((place for place, match in enumerate(matches) if match is None), None)
        if wrong is not None:
            raise _error(f"Line {wrong + 1} of {name} is {lines[wrong][:80]!r}, and others begin with an id.")
        named = {int(match[1]): re.split(r"\s*[,;\t]\s*", match[2])[0] for match in matches if match}
    if len(named) < len(lines) or len(set(named.values())) < len(named):
        raise _error(f"{name} gives an id or a name twice.")
    return Poses({"l6": {}, "l20": {}, "l82": named}, {}, {})


def _error(wrong: str) -> SourceError:
    return SourceError(f"{wrong} {ALLOWED} Correct it, or set {KEY} to null: then ids are the names.")
