"""Tables of text: any separator, with or without header, any usual encoding; each assumption becomes a note."""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.data.listing import Listing, PathError, SourceError, files_table, nearest, plain_path, tail_in
from meltpoint.data.split_names import official_split
from meltpoint.params.sources import CsvSource, PackageSource

if TYPE_CHECKING:  # the stage that looks for changes runs each time, and does without
    import pandas as pd

CANDIDATES = ("\t", ",", ";", "|", r"\s+")  # the order decides between equals
SPACED = re.compile(r'"([^"]*)"(?=\s|$)|(\S+)')  # cells between white space; a quoted one may hold it
SAMPLE = 200  # rows that a separator is guessed from

Row = tuple[int, list[str]]  # line number, cells


def list_table(source: CsvSource | PackageSource, table: Path, images: Path, title: str) -> Listing:
    """The listing of a table of image paths relative to the folder `images`.

    Raises:
        SourceError: the table cannot be read, lacks a column, or holds a path or a split that is not allowed.
    """
    if not images.is_dir():
        raise SourceError(
            f"data.source.images is {source.images!r}, which is no folder. Name the one that paths start at."
        )
    columns, notes = read_table(table, source.separator, source.header)
    cells = columns[column_named(columns, source.path, "data.source.path")].tolist()
    if urls := [cell for cell in cells if re.match(r"(?:https?|ftp|s3|gs)://", cell, re.IGNORECASE)]:
        raise SourceError(
            f"{len(urls):,} of {len(cells):,} paths in {table.name} are addresses, the first is {urls[0]!r}. Allowed "
            "are files. Write lists with a line `FOLDER/FILE.jpg ADDRESS` for each image, download them with "
            "`meltpoint fetch-urls LISTS --into FOLDER`, and name the files in the table."
        )
    roots = dict.fromkeys([str(images), os.path.realpath(images)])
    paths = [_path_in(table, row, cell, roots) for row, cell in enumerate(cells, start=1)]
    splits: list[str | None] = [None] * len(columns)
    if source.split is not None:
        named = columns[column_named(columns, source.split, "data.source.split")]
        meaning = {cell: official_split(cell) for cell in named.unique()}
        unknown = {cell: int((named == cell).sum()) for cell, split in meaning.items() if cell and split is None}
        if unknown:
            raise SourceError(
                f"Column {source.split!r} names the split, and holds the unknown values (with their rows) {unknown}. "
                "Allowed are train, val and test, or an empty cell; correct the table or set data.source.split to null."
            )
        splits = [meaning[cell] for cell in named]
    return Listing(title, files_table(paths, [str(images / path) for path in paths], splits), columns, notes=notes)


def read_table(
    path: Path, separator: str | None, header: list[str] | None, place: str = "data.source"
) -> tuple["pd.DataFrame", list[str]]:
    """A table as pandas strings, stripped, empty cells as they are; and notes on what had to be assumed.

    A first line that repeats `header` is no row. `place` is the section of params.yaml that messages name.

    Raises:
        SourceError: no text, no separator that fits, or a line with too few or too many cells.
    """
    import pandas as pd

    names, cells, notes = read_cells(path, separator, header, place)
    return pd.DataFrame(cells, columns=names, dtype="string"), notes


def read_cells(
    path: Path, separator: str | None, header: list[str] | None, place: str = "data.source"
) -> tuple[list[str], list[list[str]], list[str]]:
    """The names of the columns of a table, its rows, and notes; as `read_table` does, which raises the same."""
    text, notes = read_text(path, f"{place}.table")
    rows = _rows(text, separator or _guessed(text, header, path.name, place), path.name, place)
    first = next(rows, (0, []))[1] if header is None else header  # pandas leaves the name of an index column empty
    names = [name or f"column_{number}" for number, name in enumerate(first, start=1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not names:
        raise SourceError(f"{path.name} needs columns of different names; these are repeated: {repeated}. Rename them.")
    cells = []
    for line, row in rows:
        if len(row) != len(names):
            raise SourceError(
                f"Line {line} of {path.name} has {len(row)} cells {row[:6]}, and the columns are {names}. "
                f"Fix the line, or set {place}.separator and {place}.header."
            )
        cells.append(row)
    if header is not None and cells[:1] == [header]:
        cells, notes = cells[1:], [*notes, f"the first line of {path.name} is its header, and no row"]
    return names, cells, notes


def read_text(path: Path, key: str) -> tuple[str, list[str]]:
    """A text in any usual encoding, and a note on it unless it is UTF-8; `key` is its place in params.yaml.

    Raises:
        SourceError: it cannot be read, is empty, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"The file {str(path)!r} cannot be read: {error.strerror}. Correct {key}.") from None
    text, encoding = decode_text(data)
    if "\0" in text:
        raise SourceError(f"{path.name} is no text (it holds NUL bytes). {key} has to name a text file.")
    if not text.strip():
        raise SourceError(f"The file {path.name} is empty. Correct {key}, or fill it.")
    return text, [] if encoding == "utf-8" else [f"{path.name} is not UTF-8; it was read as {encoding}"]


def column_named(columns: Iterable[object], name: str, key: str) -> str:
    """`name` if it is one of the columns, else a SourceError with the nearest; `key` is its place in params.yaml."""
    known = [str(column) for column in columns]
    if name in known:
        return name
    raise SourceError(
        f"{key} is {name!r}, and there is no such column; there are {known}.{nearest(name, known)} "
        "If the table has no line with names, list them under `header`."
    )


def decode_text(data: bytes) -> tuple[str, str]:
    """The text and its encoding: a byte order mark decides, then UTF-8, then the most likely one of the others."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), "utf-16"
    # Bytes above ASCII mostly come in pairs in GBK; an accented letter of Latin-1 mostly stands alone. (The library
    # charset-normalizer counts how often letters occur, and a table of few different words misleads it.)
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    paired = sum(length % 2 == 0 for length in runs) >= 0.9 * len(runs)
    for encoding in ("utf-8-sig", *(["gbk"] if paired else []), "cp1252"):
        try:
            return data.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def _rows(text: str, separator: str, name: str, place: str) -> Iterator[Row]:
    """The rows that are not blank, each with the number of its (last) line; cells are stripped."""
    lines = io.StringIO(text, newline=None)
    try:
        if len(separator) == 1:
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
            rows = ((reader.line_num, row) for row in reader)
        elif separator == r"\s+":
            spaced = (SPACED.findall(line) for line in lines)
            rows = ((number, [quoted or bare for quoted, bare in row]) for number, row in enumerate(spaced, start=1))
        else:
            pattern = re.compile(separator)
            rows = ((number, pattern.split(line.rstrip("\n"))) for number, line in enumerate(lines, start=1))
        for number, row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield number, cells
    except (csv.Error, re.error, TypeError) as error:
        raise SourceError(
            f"{name} cannot be cut at {separator!r}: {error}. Correct the quotes or {place}.separator."
        ) from None


def _guessed(text: str, header: list[str] | None, name: str, place: str) -> str:
    """The separator that cuts the first rows into the same number of cells, as many as possible and at least two."""
    widths: dict[str, int] = {}
    for candidate in CANDIDATES:
        try:
            found = {len(row) for _, row in islice(_rows(text, candidate, name, place), SAMPLE)}
        except SourceError:
            continue
        if len(found) == 1 and max(found) >= 2 and (header is None or found == {len(header)}):
            widths[candidate] = max(found)
    if not widths:
        wanted = "two or more" if header is None else f"as many as {place}.header has ({len(header)})"
        first = text.split("\n", 1)[0][:80]
        raise SourceError(
            f"No separator of {list(CANDIDATES)} cuts the lines of {name} into equally many cells, {wanted}; its "
            f"first line is {first!r}. Set {place}.separator."
        )
    return max(widths, key=lambda candidate: (candidate != r"\s+", widths[candidate]))


def _path_in(table: Path, row: int, cell: str, roots: dict[str, None]) -> str:
    """A path relative to the folder of images, which `roots` names as it was given and without links."""
    path = cell.removeprefix("file://")
    if path.startswith("/"):
        plain = os.path.normpath(path)
        cell = next((os.path.relpath(plain, root) for root in roots if plain.startswith(f"{root}{os.sep}")), path)
    try:
        return plain_path(cell)
    except PathError as error:
        images = next(iter(roots))
        tail = tail_in(Path(images), cell)
        hint = f" {tail[0]!r} is there: remove {tail[1]!r} from the paths in the table." if tail else ""
        raise SourceError(
            f"Row {row} of {table.name}: {error}, and absolute ones below {images!r}.{hint} Set "
            "data.source.images to the folder that all paths start at, or correct the paths."
        ) from None
