"""Names of classes for people, from a table that has a column for each language."""

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


def read_names(tables: dict[str, NameTable], classes: Classes) -> tuple[Names, list[str]]:
    """The names of the classes of each label in `tables`, in the order of the classes; and notes on missing names.

    A class without a name for people keeps its own.

    Raises:
        NamesError: no such label, one class with two names in one language, or a table that names no class at all.
        SourceError: a table cannot be read, or lacks a column.
    """
    names: Names = {}
    notes: list[str] = []
    for label, table in tables.items():
        if label not in classes:
            raise NamesError(
                f"data.names has {label!r}, and there is no such label; there are {list(classes)}."
                f"{nearest(label, classes)} Correct it."
            )
        place = f"data.names.{label}"
        if table.package is None:
            path = locate(table.table, f"{place}.table")
        else:
            root = find_package(table.package, table.table, place)
            path = require_entry(root, table.table, f"{place}.table", table.package)
        rows, more = read_table(path, table.separator, table.header, place)
        names[label] = _by_language(rows, table, classes[label], place)
        notes += more
        for language, own in names[label].items():
            if absent := [one for one in classes[label] if one not in own]:
                notes.append(
                    f"no name in {language!r} for {len(absent)} of {len(classes[label])} classes of {label!r}, which "
                    f"keep their own: {shortened(absent)}"
                )
    return names, notes


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
        twice = pairs[pairs["key"].duplicated(keep=False)]
        if len(twice):
            one = twice["key"].iloc[0]
            several = twice["name"][twice["key"] == one].tolist()
            raise NamesError(
                f"{place}: the class {one!r} has several names in {language!r}: {several}. One is allowed; correct the "
                "table."
            )
        by_class = dict(zip(pairs["key"], pairs["name"], strict=True))
        found[language] = {one: str(by_class[one]) for one in classes if one in by_class}
    return found
