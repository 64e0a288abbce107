"""Sentences that describe classes, from a table: for encoders with a text side."""

from meltpoint.data.class_names import NamesError
from meltpoint.data.delimited import column_named, read_table
from meltpoint.data.listing import locate, nearest, shortened
from meltpoint.data.packages import find_package, require_entry
from meltpoint.params.data import DescriptionTable
from meltpoint.tables import Classes

Descriptions = dict[str, dict[str, list[str]]]  # label -> class -> its sentences


def read_descriptions(tables: dict[str, DescriptionTable], classes: Classes) -> tuple[Descriptions, list[str]]:
    """The sentences of the classes of each label in `tables`, in the order of the table; notes on rows without use.

    Raises:
        NamesError: no such label, or a class without a sentence.
        SourceError: a table cannot be read, or lacks a column.
    """
    found: Descriptions = {}
    notes: list[str] = []
    for label, table in tables.items():
        place = f"data.descriptions.{label}"
        if label not in classes:
            raise NamesError(
                f"data.descriptions has {label!r}, and there is no such label; there are {list(classes)}."
                f"{nearest(label, classes)} Correct it."
            )
        if table.package is None:
            path = locate(table.table, f"{place}.table")
        else:
            root = find_package(table.package, table.table, place)
            path = require_entry(root, table.table, f"{place}.table", table.package)
        rows, more = read_table(path, table.separator, table.header, place)
        notes += more
        keys = rows[column_named(rows, table.key, f"{place}.key")].tolist()
        columns = [rows[column_named(rows, one, f"{place}.columns")].tolist() for one in table.columns]
        own: dict[str, list[str]] = {name: [] for name in classes[label]}
        for key, *sentences in zip(keys, *columns, strict=True):
            if key in own:
                own[key] += [text for text in sentences if text and text not in own[key]]
        if lacking := [name for name, sentences in own.items() if not sentences]:
            raise NamesError(
                f"{place}: {len(lacking)} of {len(own)} classes have no description in {table.table}:"
                f" {shortened(lacking)}. Each needs one sentence at least; add them."
            )
        if unknown := sorted({key for key in keys if key not in own}):
            notes.append(
                f"{table.table} describes {len(unknown)} that are no class of {label!r}, and these are not used:"
                f" {shortened(unknown)}"
            )
        found[label] = own
    return found, notes
