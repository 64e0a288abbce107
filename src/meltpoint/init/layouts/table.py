"""A table with a column of image paths and columns of labels: one, several, a tree of them, or tags."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.data.delimited import read_table, read_text
from meltpoint.data.labels import written_missing
from meltpoint.data.listing import SourceError, is_there, nearest, tail_in
from meltpoint.data.split_names import split_in
from meltpoint.init.columns import Columns, read_columns
from meltpoint.init.found import (
    LABELS,
    SPREADSHEETS,
    Found,
    InitError,
    data_name,
    examples,
    label_cells,
    make_table,
    plural,
    read_listing,
    shown_path,
)
from meltpoint.init.layouts.folder import folders_in, unwrapped
from meltpoint.init.pictures import is_picture

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".parquet")
ADDED = (  # to ids without suffix
    "", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".HEIC", ".dcm",
)  # fmt: skip
TRIED = 40  # cells that are looked for
ENOUGH, FEW = 0.5, 0.05  # the share of ids, and of names of pictures, that has to be there: links die
WIDEST = 60  # columns of a table without a line of names
DIFFERENT, LONGEST = 0.5, 1000  # the share of different cells in a column of paths, and letters of one
FOLDERS = 60  # that a path may start at


@dataclass(frozen=True)
class Sheet:
    """A table that names images: its cells, the column of paths, where they start, and what is missing at their end."""

    file: Path
    rows: pd.DataFrame
    header: list[str] | None
    path: str
    images: Path
    suffix: str


def find(root: Path, wanted: str | None) -> Found | None:
    """The table at `root`, or in it; None if no table there names images.

    Raises:
        InitError: a file that was named has no column of images or of labels.
        SourceError: a file that was named cannot be read.
    """
    named = root.is_file()
    if named and root.suffix.lower() in SPREADSHEETS:
        raise InitError(f"{root} is a spreadsheet, and tables of text are read. Save it as CSV (UTF-8), and name that.")
    if named and root.suffix.lower() not in SUFFIXES:
        return None
    top = root if named else unwrapped(root)
    inside = [] if named else [file for place in (top, *folders_in(top)) for file in sorted(place.iterdir())]
    tables = [file for file in inside if file.suffix.lower() in SUFFIXES and file.is_file()]
    sheets = []
    for file in [root] if named else [file for file in tables if not file.name.startswith(".")]:
        try:
            sheets += [sheet] if (sheet := _sheet(file)) else []
        except SourceError:
            if named:
                raise
    if not sheets:
        if named:
            raise InitError(_about_no_images(root))
        return None
    sheet, notes = _joined(sheets)
    try:
        columns = read_columns(sheet.rows.drop(columns=sheet.path), wanted, sheet.file.name)
    except InitError:
        if named or wanted is not None:
            raise
        return None  # the folders may say more
    return _found(sheet, columns, notes)


def _sheet(file: Path) -> Sheet | None:
    rows, header = _read(file)
    bases = _bases(file)
    best: tuple[float, Sheet] | None = None
    for column in rows.columns:
        different = [cell for cell in rows[column].unique() if cell]
        if len(different) < DIFFERENT * len(rows) or not different or max(map(len, different)) > LONGEST:
            continue
        cells = different[:: max(1, len(different) // TRIED)][:TRIED]
        pictures = sum(is_picture(Path(cell)) for cell in cells) * 2 > len(cells)
        for base in bases:
            for suffix in ("",) if pictures else ADDED:
                share = sum(is_there(base / _whole(cell, suffix)) for cell in cells) / len(cells)
                if share >= (FEW if pictures else ENOUGH) and (best is None or share > best[0]):
                    best = share, Sheet(file, rows, header, str(column), base, suffix)
    return best[1] if best else None


def _whole(cell: str, suffix: str) -> str:
    """A name with the suffix that it lacks."""
    return cell if is_picture(Path(cell)) else f"{cell}{suffix}"


def _read(file: Path) -> tuple[pd.DataFrame, list[str] | None]:
    """The cells as text; the names of columns, if the table has no line of them."""
    if file.suffix.lower() == ".parquet":
        try:
            table = pd.read_parquet(file)
        except Exception as error:  # pyarrow has many kinds
            raise SourceError(f"{file} cannot be read as Parquet: {error}. Save it as CSV, and name that.") from error
        return table.astype("string").fillna(""), None
    text, _ = read_text(file, "its encoding")
    first = text.lstrip().split("\n", 1)[0]
    if not any(is_picture(Path(cell.strip("\"' "))) for cell in re.split(r"[,;|\s]", first)):
        return read_table(file, None, None)[0], None
    for width in range(2, WIDEST):  # a first line that names a picture is no line of names
        header = [f"column_{number}" for number in range(1, width + 1)]
        try:
            return read_table(file, None, header)[0], header
        except SourceError:
            continue
    return read_table(file, None, None)[0], None


def _bases(file: Path) -> list[Path]:
    """Folders that paths may start at, the nearest first."""
    near = file.parent
    below = [folder for one in folders_in(near) for folder in (one, *folders_in(one))]
    return [near, *sorted(below, key=lambda folder: len(folder.parts)), near.parent, *folders_in(near.parent)][:FOLDERS]


def _joined(sheets: list[Sheet]) -> tuple[Sheet, list[str]]:
    """One table of several: those of train, val and test together, else the longest; and what was left aside."""
    sheet = max(sheets, key=lambda one: (len(one.rows), len(one.rows.columns)))
    alike = [one for one in sheets if list(one.rows.columns) == list(sheet.rows.columns) and one.suffix == sheet.suffix]
    splits = {split_in(one.file.stem): one for one in alike}
    others = [one.file.name for one in sheets if one is not sheet]
    if len(alike) < 2 or None in splits or len(splits) < len(alike) or len({one.images for one in alike}) > 1:
        notes = [f"tables left aside: {examples(others)}; {sheet.file.name} has the most rows"]
        return sheet, notes if others else []
    parts = [one.rows.assign(split=str(split)) for split, one in splits.items()]
    names = " and ".join(one.file.name for one in splits.values())
    aside = [one.file.name for one in sheets if one not in alike]
    rows = pd.concat(parts, ignore_index=True).astype("string")
    return (
        Sheet(Path(sheet.file.parent), rows, None, sheet.path, sheet.images, sheet.suffix),
        [f"{names} are joined", *([f"tables left aside: {examples(aside)}"] if aside else [])],
    )


def _found(sheet: Sheet, columns: Columns, notes: list[str]) -> Found:
    name = data_name(sheet.file)
    source: dict[str, Any] = {
        "kind": "csv",
        "table": shown_path(sheet.file),
        "images": shown_path(sheet.images),
        "separator": None,
        "header": sheet.header,
        "path": sheet.path,
        "split": columns.split,
    }
    table = None
    if sheet.suffix or columns.rows is not None or sheet.file.is_dir() or sheet.file.suffix.lower() == ".parquet":
        rows = sheet.rows if columns.rows is None else sheet.rows[[sheet.path]].join(columns.rows)
        rows = rows.assign(**{sheet.path: [_whole(str(cell), sheet.suffix) for cell in rows[sheet.path]]})
        table, source = make_table(name, rows, source)
        listing = table.listing
        if sheet.suffix:
            notes = [*notes, f"column {sheet.path!r} has names without suffix: {sheet.suffix} is added"]
    else:
        listing = read_listing(source)
    cells, classes = label_cells(listing, columns.labels)
    missing = int(cells[columns.main].isna().sum())
    if missing:
        notes = [*notes, f"{plural(missing, 'row')} without a {columns.main}: no part in training"]
    notes = [*notes, *written_missing(listing.columns, LABELS.validate_python(columns.labels), listing.stated)]
    return Found(
        layout="a table of images" if table else f"a table, {sheet.file.name}, of images in {sheet.images.name}/",
        name=name,
        source=source,
        labels=columns.labels,
        main=columns.main,
        listing=listing,
        cells=cells,
        classes=classes,
        levels=columns.levels,
        group=columns.group,
        task=columns.task,
        table=table,
        notes=[*notes, *columns.notes],
    )


def _about_no_images(file: Path) -> str:
    rows, _ = _read(file)
    columns = [str(column) for column in rows.columns]
    cells = [str(cell) for column in columns for cell in rows[column].head(3)]
    if any(cell.startswith(("http://", "https://")) for cell in cells):
        return (
            f"{file} names images by address. Bring them first, `meltpoint fetch-urls LISTS --into photos/`, and name a"
            " table of the files."
        )
    pictures = [cell for cell in cells if is_picture(Path(cell))]
    folders = examples([str(base) for base in _bases(file)[:3]])
    hint = ""
    if pictures:
        beside = [entry.name for entry in os.scandir(file.parent)]
        # The end of a path, which starts at another folder or on another machine, may be there.
        ends = ((base, tail_in(base, pictures[0])) for base in _bases(file))
        near = next(
            (f" In {base} there is {tail[0]!r}: take {tail[1]!r} off the paths." for base, tail in ends if tail),
            nearest(Path(pictures[0]).name, beside),
        )
        hint = f" {pictures[0]!r} was looked for below {folders}.{near}"
    return (
        f"{file} has the columns {columns}, and none names images that are there.{hint} A column has to hold paths of"
        " images, relative to the table's folder or to one beside it. Put both together, or correct the paths."
    )
