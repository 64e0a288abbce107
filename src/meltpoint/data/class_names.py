"""Names of classes for people, from a table that has a column for each language."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from meltpoint.data.delimited import column_named, read_table
from meltpoint.data.listing import locate, nearest, shortened
from meltpoint.data.packages import find_package, require_entry
from meltpoint.errors import UserError
from meltpoint.params.data import NameTable
from meltpoint.tables import Classes

Names = dict[str, dict[str, dict[str, str]]]  # label -> language -> class -> name


class NamesError(UserError, ValueError):
    """Names of classes cannot be read as params.yaml describes them."""


@dataclass(frozen=True)
class Named:
    """`names` of the classes that have one, in the order of the classes; `notes` on those that have none."""

    names: Names = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_names(tables: dict[str, NameTable], classes: Classes) -> Named:
    """The names of the classes of each label in `tables`; a class without one keeps its own.

    Raises:
        NamesError: no such label, one class with two names in one language, or a table that names no class at all.
        SourceError: a table cannot be read, or lacks a column.
    """
    named = Named()
    for label, table in tables.items():
        if label not in classes:
            raise NamesError(
                f"data.names has {label!r}, and there is no such label; there are {list(classes)}."
                f"{nearest(label, classes)} Correct it."
            )
        place = f"data.names.{label}"
        rows, notes = read_table(_find(table, place), table.separator, table.header, place)
        named.names[label] = _by_language(rows, table, classes[label], place)
        named.notes.extend(notes + _missing(named.names[label], classes[label], label))
    return named


def _find(table: NameTable, place: str) -> Path:
    if table.package is None:
        return locate(table.table, f"{place}.table")
    return require_entry(find_package(table.package, table.table, place), table.table, f"{place}.table", table.package)


def _by_language(rows: pd.DataFrame, table: NameTable, classes: list[str], place: str) -> dict[str, dict[str, str]]:
    """The names of `classes` in each language; a class may have several rows that say the same."""
    keys = rows[column_named(rows, table.key, f"{place}.key")]
    known = keys.isin(classes)
    if not known.any():
        raise NamesError(
            f"{place}: column {table.key!r} of {table.table} holds none of the classes {shortened(classes)}; it holds "
            f"{shortened(keys.unique())}. Name the column with the classes as the label calls them, as {place}.key."
        )
    found = {}
    for language, column in table.languages.items():
        cells = rows[column_named(rows, column, f"{place}.languages.{language}")]
        pairs = pd.DataFrame({"key": keys, "name": cells})[known & (cells != "")].drop_duplicates()
        _check_single(pairs, language, place)
        by_class = dict(zip(pairs["key"], pairs["name"], strict=True))
        found[language] = {one: str(by_class[one]) for one in classes if one in by_class}
    return found


def _check_single(pairs: pd.DataFrame, language: str, place: str) -> None:
    twice = pairs[pairs["key"].duplicated(keep=False)]
    if len(twice):
        one = twice["key"].iloc[0]
        came = twice["name"][twice["key"] == one].tolist()
        raise NamesError(
            f"{place}: the class {one!r} has several names in {language!r}: {came}. One is allowed; correct the table."
        )


def _missing(names: dict[str, dict[str, str]], classes: list[str], label: str) -> list[str]:
    """A note for each language that lacks classes."""
    lacking = {language: [one for one in classes if one not in own] for language, own in names.items()}
    return [
        f"no name in {language!r} for {len(absent)} of {len(classes)} classes of {label!r}, which keep their own: "
        f"{shortened(absent)}"
        for language, absent in lacking.items()
        if absent
    ]
