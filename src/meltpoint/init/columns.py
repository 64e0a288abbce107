"""What the columns of a table are: labels, a tree of labels, tags, a split, a group; or nothing of that."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.data.confusables import escaped, find_confusable
from meltpoint.data.labels import NO_NAME, LabelError
from meltpoint.data.listing import nearest
from meltpoint.data.split_names import official_split
from meltpoint.init.found import CLASSIFICATION, TAGGING, InitError, TaskDefaults, examples, label_name, plural
from meltpoint.init.splits import RARE

KNOWN = ("label", "labels", "class", "class_name", "category", "target", "y", "species", "diagnosis", "dx", "tags")
SPLIT = ("split", "set", "subset", "partition", "fold", "dataset", "usage", "phase")
GROUP = re.compile(
    r"(^|_)(patient|subject|person|case|lesion|group|video|clip|sequence|series|scene|site|session|burst)(_?(id|nr|no|name))?$"
)
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
YES_OR_NO: dict[str, Any] = {"kind": "values", "column": None, "classes": {"no": 0.0, "yes": 1.0}}
SEPARATORS = ("|", ";", ",")
OFTEN = 3.0  # images that a class of a label has at least, on average
NUMBERS = 30  # different whole numbers that are classes without more ado
MANY = 10.0  # images of a number, from which on more of them are classes, if they count from 0 or 1 without a gap
MEASURE = re.compile(r"(^|_)(age|year|month|day|hour|width|height|count|score|size|weight|length|price)($|_)")
ALIKE = 5  # groups of names that look alike that a message shows
TAGGED = 6  # images that have a tag, and as many that lack it
STATES = ("", "0", "1", "0.0", "1.0")  # of a tag's own column, as the pipeline reads it


@dataclass(frozen=True)
class Columns:
    """What was taken. `rows`: columns that take the place of all others but the paths, where some had to be made."""

    labels: dict[str, dict[str, Any]]
    main: str
    rows: pd.DataFrame | None
    notes: list[str]
    levels: list[str] = field(default_factory=list)
    split: str | None = None
    group: str | None = None
    left_aside: list[str] = field(default_factory=list)  # tags that are too rare or too frequent
    task: TaskDefaults = CLASSIFICATION


def read_columns(table: pd.DataFrame, wanted: str | None, title: str) -> Columns:
    """Find out what the columns of a table are; its cells are text, without the column of paths.

    Raises:
        InitError: none is a label, or the wished one is not there.
        LabelError: columns or tags that would be classes look the same.
    """
    values = {str(column): {str(cell) for cell in _known(table[column]).unique()} for column in table}
    splits = (one for one, own in values.items() if one.casefold() in SPLIT and own and all(map(official_split, own)))
    split = next(splits, None)
    groups = (one for one in values if GROUP.search(one.casefold()) and 1 < len(values[one]) < len(_known(table[one])))
    group = next(groups, None)
    rest = [column for column in values if column != split]
    if wanted is not None:
        found = {column.casefold(): column for column in reversed(rest)} | {column: column for column in rest}
        column = found.get(wanted) or found.get(wanted.casefold())
        if column is None:
            near = nearest(wanted, rest)
            raise InitError(f"--label is {wanted!r}, and there is no such column; there are {rest}.{near}")
        rest = [column]
    binary = [
        column
        for column in rest
        if len(words := {value.casefold() for value in values[column]}) == 2 and words <= {*YES, *NO}
    ]
    labels = [column for column in rest if column not in binary and _is_label(table[column], column)]
    tagged = next((column for column in rest if _holds_tags(table[column])), None)
    labels = [column for column in labels if column != group or wanted is not None]
    beside = table[[one for one in (split, group) if one]]
    if tagged is not None and (tagged in labels or not labels) and (tagged in KNOWN or not binary):
        return replace(_of_cells(table[tagged], tagged, beside), split=split, group=group)
    if len(binary) >= 3 and not any(column.casefold() in KNOWN for column in labels):
        return replace(_of_binaries(table, binary, beside, label_name(Path(title).stem)), split=split, group=group)
    if not labels and not binary:
        which = f"column {wanted!r} is no" if wanted else "none of its columns is a"
        there = ", ".join(f"{column} ({table[column].nunique():,} different cells)" for column in list(table)[:12])
        raise InitError(
            f"{title} names images, and {which} label: {there or 'it has paths alone'}. The cells of a label repeat, on"
            f" {OFTEN:g} images each or more. Add such a column, or name one with --label."
        )
    return _of_labels(table, labels, binary, split, group, wanted)


def _of_labels(
    table: pd.DataFrame, labels: list[str], binary: list[str], split: str | None, group: str | None, wanted: str | None
) -> Columns:
    kept = _without_twins(table, labels) if wanted is None else labels
    sure = [column for column in kept if column.casefold() in KNOWN]
    levels = _chain(table, [*kept, *binary])
    chosen = [*kept, *binary]
    main = sure[0] if sure else levels[-1] if levels else chosen[0]
    names = {
        column: _free_name(column, [label_name(one) for one in chosen[:number]]) for number, column in enumerate(chosen)
    }
    left = [str(column) for column in table if str(column) not in (*chosen, split, group)]
    notes = []
    if left:
        notes.append(f"columns left aside: {examples(left, 6)}; they name or measure each image, or repeat another one")
    if len(chosen) > 1:
        notes.append(f"--label NAME takes one column alone, of {', '.join(chosen)}")
    return Columns(
        labels={
            name: YES_OR_NO | {"column": column}
            if column in binary and {cell for cell in table[column].unique() if cell} <= {"0", "1", "0.0", "1.0"}
            else {"kind": "names", "column": column, "classes": None}
            for column, name in names.items()
        },
        main=names[main],
        rows=None,
        notes=notes if wanted is None else [],
        levels=[names[level] for level in levels],
        split=split,
        group=group,
    )


def _of_cells(column: "pd.Series[str]", name: str, beside: pd.DataFrame) -> Columns:
    """Tags of cells: as they stand there, or in a table of ours if some are left aside."""
    separator = _separator(column)
    cells = [_cut(str(cell), separator) for cell in column.fillna("")]
    joined = {tag for tags in cells if len(tags) > 1 for tag in tags}  # a word for a missing cell is there alone
    words = [len(tags) == 1 and tags[0].casefold() in NO_NAME and tags[0] not in joined for tags in cells]
    sets = [None if word else set(tags) for tags, word in zip(cells, words, strict=True)]
    made = tag_column(sets, beside, label_name(name), f"column {name!r}")
    twice = any(len(set(tags)) < len(tags) for tags in cells)
    if made.left_aside or twice or any(tag.casefold() in NO_NAME for tag in joined):
        return made
    return replace(made, labels={made.main: _tags_label(name, separator)}, rows=None)


def _tags_label(column: str, separator: str | None, **more: Any) -> dict[str, Any]:
    return {"kind": "tags", "column": column, "separator": separator, "none": "", **more}


def tag_column(sets: Sequence[set[str] | None], beside: pd.DataFrame, name: str, what: str) -> Columns:
    """A label of tags, in a column that takes the place of others; `sets` are the tags of each row, None: not known.

    Tags that few images have or lack are left aside, as each has to be in train, val and test.

    Raises:
        InitError: no tag is that frequent.
        LabelError: two tags look the same.
    """
    known = [tags for tags in sets if tags is not None]
    counts = Counter(tag for tags in known for tag in sorted(tags))
    check_alike(counts)
    taken = {tag for tag, count in counts.items() if min(count, len(known) - count) >= TAGGED}
    if not taken:
        raise InitError(
            f"{what} holds tags, and none of them is on {TAGGED} images and missing from as many others: "
            f"{examples([f'{tag} {count}' for tag, count in counts.most_common()], 6)}. Add images."
        )
    left = {tag: count for tag, count in counts.most_common() if tag not in taken}
    cells = ["nan" if tags is None else "|".join(sorted(tags & taken)) for tags in sets]
    notes = ["an image may have several tags, and each is told by itself"]
    if bare := sum(not cell for cell in cells):
        notes.append(f"{plural(bare, 'image')} without a tag: they teach that none is there")
    if left:
        aside = examples([f"{tag} {count:,}" for tag, count in left.items()], 6)
        notes.append(f"tags left aside, as fewer than {TAGGED} images have or lack them: {aside}")
    label = _tags_label(name, "|", classes=sorted(taken))  # one of them may be called `nan`
    rows = beside.assign(**{name: cells}).astype("string")
    return Columns({name: label}, name, rows, notes, left_aside=list(left), task=TAGGING)


def yes_or_no(tag: str, present: list[bool], beside: pd.DataFrame) -> Columns:
    """A label of one tag, `no` or `yes`, in a column of its name.

    Raises:
        InitError: too few images have it, or lack it.
    """
    count, name = sum(present), label_name(tag)
    if min(count, len(present) - count) < TAGGED:
        raise InitError(
            f"{tag!r} is on {plural(count, 'image')} of {len(present):,}; {TAGGED} have to have it, and {TAGGED} to"
            " lack it. Add images."
        )
    rows = beside.assign(**{name: ["1" if one else "0" for one in present]}).astype("string")
    return Columns({name: YES_OR_NO | {"column": name}}, name, rows, [])


def _of_binaries(table: pd.DataFrame, binary: list[str], beside: pd.DataFrame, name: str) -> Columns:
    """A column for each class: one label, if each row is of one class, else tags."""
    on = pd.DataFrame({column: table[column].str.casefold().isin(YES) for column in binary})
    if (on.sum(axis=1) != 1).any():
        found = tag_column([set(on.columns[row]) for row in on.to_numpy()], beside, name, "the table")
        taken = [column for column in binary if column not in found.left_aside]
        if not table[taken].fillna("").isin(STATES).all(axis=None):
            return found
        note = f"{len(taken)} columns of 0 and 1 are the tags of one label; an empty cell says that nothing is known"
        label = {"kind": "tags", "columns": taken}
        return replace(found, labels={found.main: label}, rows=None, notes=[note, *found.notes[1:]])
    rows = beside.assign(**{name: on.idxmax(axis=1)}).astype("string")
    check_alike(binary)
    label = stated_label(name, rows[name])
    notes = [f"{len(binary)} columns of 0 and 1, of which each row has one 1, are the classes of one label"]
    return Columns({name: label}, name, rows, notes)


def stated_label(column: str, cells: Iterable[str]) -> dict[str, Any]:
    """A label of a column of ours, whose classes are listed: one may be called `nan`, and is not missing."""
    return {"kind": "names", "column": column, "classes": sorted({str(cell) for cell in cells if cell})}


def check_alike(names: Iterable[str]) -> None:
    """Refuse names of classes that look the same to a person.

    Raises:
        LabelError: some look the same.
    """
    if alike := find_confusable(names):
        shown = "; ".join(escaped(group) for group in alike[:ALIKE])
        raise LabelError(
            f"There are classes that no person can tell apart: {shown}. They are most likely the same, and differ in"
            " capitals, blanks, signs, or letters that look alike (here as escapes). Give them one name in the source."
        )


def _known(cells: pd.Series) -> pd.Series:
    return cells[~cells.fillna("").str.casefold().isin(NO_NAME)]


def _is_label(cells: pd.Series, column: str) -> bool:
    """Whether a column's cells come often enough to be classes, and are no measurements."""
    known = _known(cells)
    classes = known.nunique()
    if classes < 2 or (len(known) / classes < OFTEN and column.casefold() not in KNOWN):
        return False
    numbers = pd.to_numeric(known, errors="coerce")
    if not numbers.notna().all() or column.casefold() in KNOWN:
        return True
    if not (numbers % 1 == 0).all() or classes <= NUMBERS:
        return bool((numbers % 1 == 0).all())
    without_gaps = numbers.min() in (0, 1) and numbers.max() - numbers.min() + 1 <= classes * 1.1
    return bool(without_gaps) and len(known) / classes >= MANY and not MEASURE.search(column.casefold())


def _separator(cells: pd.Series) -> str | None:
    return next((one for one in SEPARATORS if cells.fillna("").str.contains(one, regex=False).mean() >= 0.05), None)


def _cut(cell: str, separator: str | None) -> list[str]:
    return [part.strip() for part in cell.split(separator) if part.strip()] if separator else [cell.strip()]


def _holds_tags(cells: pd.Series) -> bool:
    """Whether cells hold several tags each, out of fewer than there are combinations."""
    separator = _separator(cells)
    if separator is None:
        return False
    counts = Counter(tag for cell in _known(cells) for tag in _cut(str(cell), separator))
    few = len(counts) < _known(cells).nunique() and sum(counts.values()) >= RARE * len(counts)
    return few and all(len(tag) <= 60 for tag in counts)


def _without_twins(table: pd.DataFrame, labels: list[str]) -> list[str]:
    """Columns without those that repeat another one, as ids beside names; text is kept before numbers."""
    kept: list[str] = []
    numeric = {one: pd.to_numeric(_known(table[str(one)]), errors="coerce").notna().all() for one in labels}
    for column in sorted(labels, key=numeric.__getitem__):
        if not any(_refines(table, column, other) and _refines(table, other, column) for other in kept):
            kept.append(column)
    return [column for column in labels if column in kept]


def _refines(table: pd.DataFrame, finer: str, coarser: str) -> bool:
    """Whether each class of `finer` lies in one of `coarser`."""
    rows = table[[finer, coarser]].drop_duplicates()
    return not rows[finer].duplicated().any()


def _chain(table: pd.DataFrame, labels: list[str]) -> list[str]:
    """Labels of which each class lies in one of the label before, root first: the longest chain from the finest."""
    order = sorted(labels, key=lambda one: -table[one].nunique())
    chain = order[:1]
    for column in order[1:]:
        if _refines(table, chain[-1], column):
            chain.append(column)
    return chain[::-1] if len(chain) > 1 else []


def _free_name(text: str, taken: list[str]) -> str:
    name = label_name(text)
    names = [name, *(f"{name}_{number}" for number in range(2, 1000))]
    return next(one for one in names if one not in taken)
