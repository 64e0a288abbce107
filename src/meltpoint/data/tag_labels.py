"""Labels of kind `tags`: cells with names, or columns of 0 and 1, become cells as `tables.say_tags` writes them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from meltpoint.data.confusables import escaped, find_confusable
from meltpoint.data.listing import nearest, shortened
from meltpoint.errors import UserError
from meltpoint.params.data import TagsLabel
from meltpoint.tables import NOT_KNOWN, PRESENT, say_tags

NOT_SAID = ("", "nan", "<na>")  # how a table writes a cell that says nothing
SHOWN = 5
STATES = {"0": False, "1": True, "0.0": False, "1.0": True}  # of a cell of a column of one tag


class TagError(UserError, ValueError):
    """Tags cannot be read from the raw columns."""


def build_tags(name: str, label: TagsLabel, columns: Sequence["pd.Series[str]"]) -> tuple["pd.Series[str]", list[str]]:
    """The label cells of rows (N,), and the tags in order; `columns` are the raw text columns that the label names.

    Raises:
        TagError: a name that is no class, repeated in a cell, or not to be written down; a cell that is not 0 or 1.
    """
    if label.columns is not None:
        check_tag_names(label.columns, f"data.labels.{name}.columns")
        return _from_columns(name, label.columns, columns), list(label.columns)
    assert label.separator is not None
    cells = columns[0]
    said = {cell: _parse(cell, label) for cell in map(str, cells.unique())}
    found = sorted({tag for tags in said.values() if tags is not None for tag in tags})
    classes = found if label.classes is None else list(label.classes)
    check_tag_names(classes, f"data.labels.{name}" + ("" if label.classes is None else ".classes"))
    if label.classes is None and (alike := find_confusable(found)):
        raise TagError(
            f"Label {name!r} has tags that no person can tell apart: {'; '.join(map(escaped, alike[:SHOWN]))}. Make"
            f" them one in the source, or list them in data.labels.{name}.classes if they are meant."
        )
    unknown = [tag for tag in found if tag not in classes]
    if unknown:
        raise TagError(
            f"Label {name!r} is made of column {label.column!r}, whose cells name the unknown tags"
            f" {shortened(unknown)}. Allowed are {shortened(classes)}, with {label.separator!r} between them."
            f"{nearest(unknown[0], classes)} Correct the source, or data.labels.{name}."
        )
    twice = [(cell, tag) for cell, tags in said.items() for tag, count in Counter(tags or ()).items() if count > 1]
    if twice:
        rows = int((cells == twice[0][0]).sum())
        raise TagError(
            f"Label {name!r}: the cell {twice[0][0]!r} names {twice[0][1]!r} several times (in {rows} row(s), and"
            f" {len(twice) - 1} other cells do so). Each tag stands in a cell once. Correct the source."
        )
    order = {tag: place for place, tag in enumerate(classes)}
    written = {
        cell: None if tags is None else say_tags(sorted(tags, key=order.__getitem__)) for cell, tags in said.items()
    }
    return cells.map(written).astype("string"), classes


def check_tag_names(names: Iterable[str], where: str) -> None:
    """Refuse names of tags that label cells could not hold.

    Raises:
        TagError: one holds the sign between tags, or begins with that of what is not known.
    """
    flawed = [tag for tag in names if PRESENT in tag or tag.startswith(NOT_KNOWN)]
    if flawed:
        raise TagError(
            f"{where}: the tags {shortened(flawed)} hold {PRESENT!r} or begin with {NOT_KNOWN!r}, which stand between"
            " tags, and before one that is not known. Write them with other signs; if"
            f" {PRESENT!r} is what parts them, set `separator` to it."
        )


def _parse(cell: str, label: TagsLabel) -> list[str] | None:
    """The names in a cell; None where it says nothing."""
    if label.none is not None and cell == label.none:
        return []
    if cell.casefold() in NOT_SAID and cell not in (label.classes or ()):
        return None
    return [tag for tag in map(str.strip, cell.split(label.separator)) if tag]


def _from_columns(name: str, tags: list[str], columns: Sequence["pd.Series[str]"]) -> "pd.Series[str]":
    for tag, cells in zip(tags, columns, strict=True):
        wrong = [cell for cell in map(str, cells.unique()) if cell not in STATES and cell.casefold() not in NOT_SAID]
        if wrong:
            rows = cells[cells == wrong[0]]
            raise TagError(
                f"Label {name!r}: the column {tag!r} holds {shortened(wrong)}, first in {rows.index[0]}. Allowed are 1,"
                " 0, and an empty cell where it is not known. Correct the source."
            )
    table = pd.concat([cells.map(STATES) for cells in columns], axis=1).to_numpy(dtype=object)
    written = []
    for row in table:
        unknown = [tag for tag, state in zip(tags, row, strict=True) if pd.isna(state)]
        has = [tag for tag, state in zip(tags, row, strict=True) if state is True]
        written.append(None if len(unknown) == len(tags) else say_tags(has, unknown))
    return pd.Series(written, index=columns[0].index, dtype="string")
