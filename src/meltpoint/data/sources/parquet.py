"""Source kind `parquet`: a picture in each row, with its labels in the other columns, as on Hugging Face."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from meltpoint.data.cell_text import cell_of
from meltpoint.data.class_folders import SUFFIXES
from meltpoint.data.listing import (
    Listing,
    PathError,
    Skipped,
    SourceError,
    files_table,
    locate,
    nearest,
    plain_path,
    printable,
)
from meltpoint.data.origins import piece
from meltpoint.data.shard_files import ShardFile, find_shards, local_copy, watched
from meltpoint.params.sources import ParquetSource

ROWS = 256  # that are in memory at once
# How files of pictures begin, for rows that hold bytes without a name.
SIGNATURES = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp", b"II*\0": ".tif",
    b"MM\0*": ".tif",
}  # fmt: skip

Row = tuple[str, str, str | None, dict[str, str]]  # path, origin, split, cells
Names = dict[str, list[str]]  # of columns that hold numbers of classes


def read(source: ParquetSource, work: Path) -> Listing:
    """List the rows, with the column `split` and all others that a cell can hold.

    Lists are joined by `|`; numbers that the file's own metadata names are given by those names. Pictures in
    bytes are written to `work`, one file for each of the source's, a few hundred rows at a time.

    Raises:
        SourceError: there are no such files, one is damaged, or has no such column.
    """
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for shard in watched(find_shards(source.path, source.files, "data.source.files")):
        file = local_copy(shard, work)
        rows += _rows(shard, file, source, work / "pictures" / f"{shard.prefix}.bin", skipped)
    columns = pd.DataFrame([{"split": split or "", **cells} for _, _, split, cells in rows], dtype="string").fillna("")
    files = files_table([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    return Listing(f"parquet {source.path}", files, columns, skipped)


def _rows(shard: ShardFile, file: Path, source: ParquetSource, store: Path, skipped: list[Skipped]) -> Iterator[Row]:
    import pyarrow.parquet as pq

    store.parent.mkdir(parents=True, exist_ok=True)
    with _damaged(file), pq.ParquetFile(file) as opened, store.open("wb") as pictures:
        names, number = _names(opened.schema_arrow.metadata or {}), 0
        if source.picture not in opened.schema_arrow.names:
            raise SourceError(
                f"data.source.picture is {source.picture!r}, and {file.name} has the columns"
                f" {opened.schema_arrow.names}.{nearest(source.picture, opened.schema_arrow.names)} Correct it."
            )
        for batch in opened.iter_batches(ROWS):
            for row in batch.to_pylist():
                name, origin = _picture(row.pop(source.picture), source.path, pictures, store)
                try:
                    path = plain_path(f"{shard.prefix}/{number:07}{_suffix(name)}")
                    if origin is None:
                        raise PathError("a row without a picture")
                    yield path, origin, shard.split, _cells(row, names)
                except PathError as error:
                    skipped.append(Skipped(printable(f"{shard.prefix}/{number:07}"), str(error)))
                number += 1


def _picture(cell: Any, root: str, pictures: IO[bytes], store: Path) -> tuple[str, str | None]:
    """The name of a cell's picture, as far as it tells the suffix, and its origin; bytes are added to `pictures`."""
    content, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(content, str):
        content, name = None, content
    if content is not None:
        if not isinstance(content, bytes):
            raise SourceError(
                f"data.source.picture names a column of {type(content).__name__}. Allowed are bytes, paths, and pairs"
                " of `bytes` and `path`. Name the column of pictures."
            )
        start = pictures.tell()
        pictures.write(content)
        named = name or next((end for begin, end in SIGNATURES.items() if content.startswith(begin)), "")
        return named, piece(store, start, len(content))
    if not name:
        return "", None
    if "://" in root:
        raise SourceError(
            f"The column data.source.picture of {root} holds paths. They are read of folders of this machine alone:"
            " copy the dataset here, or keep the bytes in the files."
        )
    return name, os.path.join(locate(root), plain_path(name))  # noqa: PTH118 - no Path for each of a million rows


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def _cells(row: dict[str, Any], names: Names) -> dict[str, str]:
    cells = {}
    for column, value in row.items():
        known = names.get(column)
        cell = cell_of(value if known is None else _named(value, known))
        if cell is not None:
            cells[column] = cell
    return cells


def _named(value: Any, names: list[str]) -> Any:
    """A class's number as its name; a number that has none (-1: no label) is an empty cell."""
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _names(metadata: dict[bytes, bytes]) -> Names:
    """The class names of columns that the metadata of Hugging Face's `datasets` calls `ClassLabel`, or lists of it."""
    try:
        features: Any = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    found = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else feature
        if isinstance(inner, dict) and isinstance(inner.get("names"), list):
            found[column] = [str(name) for name in inner["names"]]
    return found


@contextmanager
def _damaged(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise SourceError(
            f"{file} cannot be read as parquet: {reason}. Copy it again, or take it out of the source."
        ) from None
