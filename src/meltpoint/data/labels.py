"""Raw text columns become labels: every cell is a class, is missing, or raises an error that names it."""

import math
from collections.abc import Callable, Collection
from itertools import pairwise

import pandas as pd

from meltpoint.data.confusables import escaped, find_confusable, skeleton
from meltpoint.data.listing import nearest, shortened
from meltpoint.data.tag_labels import build_tags
from meltpoint.errors import UserError
from meltpoint.params.data import EqualsLabel, Label, MaskLabel, NamesLabel, TagsLabel, ThresholdLabel, ValuesLabel
from meltpoint.tables import MEASURED, PRESENT, RESERVED, Classes, memberships

SHOWN = 5  # unknown cells that a message lists
NO_NAME = ("", "nan", "<na>")  # how a table writes a missing cell; a class may well be called `none` or `NA`
NO_NUMBER = (*NO_NAME, "na", "n/a", "null", "none")

ColumnLabel = NamesLabel | ValuesLabel | ThresholdLabel
Rule = tuple[list[str], Callable[[str], str | None]]  # classes in order, and the class of a cell (None: unknown)


class LabelError(UserError, ValueError):
    """A label cannot be made from the raw columns, or what it makes cannot be learned."""


def build_labels(
    rows: pd.DataFrame, labels: dict[str, Label], stated: Collection[str] = ()
) -> tuple[pd.DataFrame, Classes]:
    """The label columns of raw text columns, row by row, as pandas strings; missing where the cell is.

    `rows` is indexed by path, which messages name. Numbers are compared to six digits, so that 0.3333333 is a third. A
    label may be made of another one anywhere in `labels`, which gives the order of the columns. A label of
    masks has their paths in its cells, as no mask is open yet. `nan` is missing, but not where it is listed as a class,
    nor in the columns of `rows` that `stated` names, whose cells are names of folders.

    Raises:
        LabelError: a column or a label does not exist, a cell is no known class, two classes cannot be told apart, or
            labels are made of each other in a circle.
    """
    classes: Classes = {}
    built: dict[str, pd.Series] = {}
    reserved = sorted(RESERVED | MEASURED)
    for name in _in_order(labels):
        if name in reserved:
            raise LabelError(
                f"A label is called {name!r}, which is a column of the table of samples, as {reserved}. Rename it."
            )
        match labels[name]:
            case EqualsLabel() as label:
                _check_names(name, label.classes)
                known, other = classes[label.label], built[label.label]
                if unknown := [one for one in label.is_in if one not in known]:
                    raise LabelError(
                        f"data.labels.{name}.is_in names {unknown[0]!r}, and label {label.label!r} has no such class; "
                        f"it has {shortened(known)}.{nearest(unknown[0], known)} Correct it."
                    )
                first, second = label.classes  # the second where the other label is one of `is_in`
                chosen = pd.Series(first, index=other.index, dtype="string").mask(other.isin(label.is_in), second)
                built[name], classes[name] = chosen.where(other.notna()), label.classes
            case MaskLabel() as label:
                check_mask_label(name, label)
                built[name], classes[name] = _column(rows, name, label.column), list(label.classes)
            case TagsLabel() as label:
                cells = [_column(rows, name, column) for column in label.columns or [label.column or ""]]
                built[name], classes[name] = build_tags(name, label, cells)
                _check_names(name, classes[name])
            case label:
                built[name], classes[name] = _from_column(rows, name, label, label.column in stated)
    return pd.DataFrame({name: built[name] for name in labels}, index=rows.index), {
        name: classes[name] for name in labels
    }


def count_classes(samples: pd.DataFrame, classes: Classes) -> dict[str, dict[str, int]]:
    """How many samples each class of each label has; classes that never occur count 0."""
    counts = {label: memberships(samples, label, names).sum(axis=0) for label, names in classes.items()}
    return {label: dict(zip(names, map(int, counts[label]), strict=True)) for label, names in classes.items()}


def check_class_counts(counts: dict[str, dict[str, int]]) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        LabelError: a label has fewer than two classes, or a class without an image.
    """
    for label, by_class in counts.items():
        absent = [name for name, count in by_class.items() if count == 0]
        if len(by_class) - len(absent) < 2:
            raise LabelError(
                f"Label {label!r} needs two classes at least, and the usable images have {by_class or 'none'}. "
                f"Correct data.labels.{label}, or data.source if the class folders lie deeper."
            )
        if absent:
            raise LabelError(
                f"Label {label!r} has classes that no usable image belongs to: {absent}; the others have {by_class}. "
                f"Correct their spelling in data.labels.{label}.classes, or take them out."
            )


def check_mask_label(name: str, label: MaskLabel) -> None:
    """Refuse classes of pixels that cannot be told apart, or that a table cannot hold.

    Raises:
        LabelError: a class or void has no id, or no colour, where masks hold such; two have the same; a bad name.
    """
    _check_names(name, list(label.classes))
    ids = label.pixels == "ids"
    codes = {one: what.id if ids else what.colour for one, what in label.classes.items()}
    lacking = [repr(one) for one, code in codes.items() if code is None] + [
        f"void {void!r}" for void in label.void if isinstance(void, int) != ids
    ]
    if lacking:
        raise LabelError(
            f"Label {name!r} reads masks of {label.pixels}, and gives none to {', '.join(lacking)}. Each class needs "
            f"its {'id' if ids else 'colour'}, and void {'ids' if ids else 'colours'}. Correct data.labels.{name}."
        )
    named = [str(code).lower() for code in [*codes.values(), *label.void]]
    if twice := sorted({code for code in named if named.count(code) > 1}):
        raise LabelError(f"Label {name!r} gives {twice} to several classes, or to void too. Give each class its own.")
    if parted := [one for one in label.classes if PRESENT in one]:
        raise LabelError(f"Label {name!r} has the classes {parted}; names of classes of masks hold no {PRESENT!r}.")


def _in_order(labels: dict[str, Label]) -> list[str]:
    """The names of the labels, each after the one that it is made of."""
    order: list[str] = []
    for name in labels:
        chain = [name]
        while isinstance(label := labels[chain[-1]], EqualsLabel):
            if label.label not in labels:
                raise LabelError(
                    f"data.labels.{chain[-1]}.label is {label.label!r}, and there is no such label; there are "
                    f"{list(labels)}.{nearest(label.label, labels)} Correct it."
                )
            if label.label in chain:
                circle = ", made of ".join(repr(one) for one in [*chain, label.label])
                raise LabelError(
                    f"Labels are made of each other in a circle: {circle}. One of them has to be made of a column. "
                    f"Correct data.labels.{label.label}."
                )
            chain.append(label.label)
        order += [one for one in reversed(chain) if one not in order]
    return order


def written_missing(rows: pd.DataFrame, labels: dict[str, Label], stated: Collection[str]) -> list[str]:
    """A note for each label with cells that hold a word and were taken as missing: which word, in how many rows."""
    notes = []
    for name, label in labels.items():
        if isinstance(label, ColumnLabel) and label.column not in stated:
            counts = rows[label.column].fillna("").value_counts().sort_index()
            words = {str(cell): int(count) for cell, count in counts.items() if cell and _is_missing(str(cell), label)}
            if words:
                fix = "" if isinstance(label, ThresholdLabel) else f"; a class is listed in data.labels.{name}.classes"
                shown = f"{sum(words.values()):,} rows of {label.column!r} hold a word for a missing cell"
                notes.append(f"{shown}, and have no {name!r}: {words}{fix}")
    return notes


def _from_column(rows: pd.DataFrame, name: str, label: ColumnLabel, stated: bool) -> tuple[pd.Series, list[str]]:
    """The label of each row as pandas strings, and its classes; no cell is missing where its column is `stated`."""
    cells = _column(rows, name, label.column)
    known = [str(cell) for cell in cells.unique() if stated or not _is_missing(str(cell), label)]
    classes, meaning = _rule(name, label, known)
    found = {cell: meaning(cell) for cell in known}
    unknown = [cell for cell, meant in found.items() if meant is None]
    if unknown:
        raise LabelError(_about_unknown(name, label, cells, unknown, classes))
    return cells.map(found).astype("string"), classes


def _column(rows: pd.DataFrame, name: str, column: str) -> pd.Series:
    """The cells of a raw column as text, never missing."""
    if column not in rows.columns:
        known = [str(one) for one in rows.columns]
        raise LabelError(
            f"data.labels.{name}.column is {column!r}, and the source has no such column; it has {known}."
            f"{nearest(column, known)} Correct it; if the table has no line of names, list them in data.source.header."
        )
    cells: pd.Series = rows[column].fillna("")
    return cells


def _is_missing(cell: str, label: ColumnLabel) -> bool:
    match label:
        case NamesLabel():
            return cell.casefold() in NO_NAME and cell not in (label.classes or ())
        case ValuesLabel():
            return cell.casefold() in NO_NUMBER and cell not in label.classes
        case ThresholdLabel():
            return cell.casefold() in NO_NUMBER


def _rule(name: str, label: ColumnLabel, known: list[str]) -> Rule:
    """The classes of a label, and what gives the class of a cell; `known` are the cells of its column."""
    classes = sorted(known) if label.classes is None else list(label.classes)
    _check_names(name, classes)
    match label:
        case NamesLabel():
            if label.classes is None and (alike := find_confusable(classes)):
                shown = "; ".join(escaped(group) for group in alike[:SHOWN])
                raise LabelError(
                    f"Label {name!r} has classes that no person can tell apart: {shown}. They are most likely the "
                    "same, and differ in capitals, blanks, or letters that look alike (here as escapes). Make them one "
                    f"in the source, or list them in data.labels.{name}.classes if they are meant."
                )
            return classes, {one: one for one in classes}.get
        case ValuesLabel():
            values = sorted((value, one) for one, value in label.classes.items())
            for (low, first), (high, second) in pairwise(values):
                if _equal(low, high):
                    raise LabelError(
                        f"Label {name!r} gives one number to {first!r} and {second!r}: {low}. Give each its own."
                    )

            def by_value(cell: str) -> str | None:
                number = _number(cell)  # before names: a class may be called 1 and have the number 0
                found = next((one for value, one in values if number is not None and _equal(number, value)), None)
                return found or (cell if cell in classes else None)

            return classes, by_value
        case ThresholdLabel():
            below, above = classes

            def by_threshold(cell: str) -> str | None:
                number = _number(cell)
                return None if number is None else above if number >= label.at_least else below

            return classes, by_threshold


def _check_names(name: str, names: list[str]) -> None:
    flawed = sorted({one for one in names if not one.strip() or names.count(one) > 1})
    if flawed:
        raise LabelError(
            f"Label {name!r} has the classes {names}; {flawed} is empty or repeated. Give each class one name."
        )


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)


def _about_unknown(name: str, label: ColumnLabel, cells: pd.Series, unknown: list[str], classes: list[str]) -> str:
    shown = []
    for cell in unknown[:SHOWN]:
        rows = cells[cells == cell]
        shown.append(f"  {cell!r} in {len(rows)} row(s), first {rows.index[0]}")
    more = f"\n  and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    match label:
        case NamesLabel():
            allowed = f"the classes {shortened(classes)}.{nearest(unknown[0], classes)}"
        case ValuesLabel():
            allowed = f"these numbers for the classes, or their names: {label.classes}.{nearest(unknown[0], classes)}"
        case ThresholdLabel():
            allowed = "any number, with a point for decimals."
    twins = [(cell, one) for cell in unknown[:SHOWN] for one in classes if skeleton(cell) == skeleton(one)]
    if twins:
        allowed += f" They look alike, and differ: {'; '.join(escaped(pair) for pair in twins)}."
    return (
        f"Label {name!r} is made of column {label.column!r}, which holds unknown cells:\n"
        + "\n".join(shown)
        + f"{more}\nAllowed are an empty cell and {allowed} Correct the source, or data.labels.{name}."
    )
