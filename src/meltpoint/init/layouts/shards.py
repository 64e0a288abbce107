"""Pictures and labels in few large files: WebDataset's tar shards, or Parquet as Hugging Face keeps datasets."""

import glob
import os
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from meltpoint.data.listing import is_there, printable
from meltpoint.data.sources.webdataset import LABELS
from meltpoint.data.split_names import official_split, split_in
from meltpoint.init.columns import Columns, read_columns
from meltpoint.init.found import Found, InitError, data_name, examples, label_cells, plural, read_listing, shown_path
from meltpoint.init.pictures import is_picture
from meltpoint.signatures import is_image

DEPTHS = ("*", "*/*")  # where shards are looked for: train-000.tar, train/000.tar
LOOKED = 200  # files of a shard that are looked at
ROWS = 8  # of a Parquet file
FIRST = ("image", "img", "picture", "photo", "jpg", "png")  # columns that are taken before others


def find(root: Path, wanted: str | None) -> Found | None:
    """Shards at `root`, or one shard; None if there are none with pictures in them.

    Raises:
        SourceError: a shard is damaged.
        InitError: no label is in them, or their names cannot be told apart.
    """
    files = _files(root, ".parquet")
    picture = next((column for file in files if (column := _picture_column(file, root, len(files)))), None)
    if picture:
        return _found(root, files, {"kind": "parquet"}, "files", {"picture": picture}, wanted)
    files = _files(root, ".tar")
    if any(_holds_samples(file) for file in files):
        return _found(root, files, {"kind": "webdataset"}, "shards", {}, wanted)
    return None


def _files(root: Path, suffix: str) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == suffix else []
    found = (file for depth in DEPTHS for file in root.glob(f"{depth}{suffix}"))
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def _holds_samples(file: Path) -> bool:
    """Whether a tar has a picture and a label of one name."""
    try:
        with tarfile.open(file, "r:") as tar:
            names = [member.name for member in islice(tar, LOOKED) if member.isfile()]
    except (OSError, tarfile.TarError):
        return False
    keys: dict[str, set[bool]] = {}
    for folder, _, last in (name.rpartition("/") for name in names):
        stem, _, suffix = last.partition(".")
        if suffix in LABELS or is_picture(Path(last)):
            keys.setdefault(f"{folder}/{stem}", set()).add(suffix in LABELS)
    return any(len(kinds) == 2 for kinds in keys.values())


def _picture_column(file: Path, root: Path, count: int) -> str | None:
    """The column of pictures: of their bytes, pairs of `bytes` and `path`, or, where there are several files, paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            rows = next(opened.iter_batches(ROWS), None)
    except (OSError, pa.ArrowException):
        return None  # reading it says more
    held: dict[str, list[Any]] = rows.to_pydict() if rows else {}
    columns = [name for name, cells in held.items() if any(_is_picture(cell, root, count) for cell in cells)]
    return next((name for name in columns if name.casefold() in FIRST), next(iter(columns), None))


def _is_picture(cell: Any, root: Path, count: int) -> bool:
    match cell:
        case bytes():
            return is_image(cell)
        case {"bytes": bytes(content)}:
            return is_image(content)
        case {"path": str(path)}:
            return is_there(root / path)
        case str():
            return count > 1 and is_picture(Path(cell)) and is_there(root / cell)
        case _:
            return False


def _found(
    root: Path, files: list[Path], kind: dict[str, str], key: str, more: dict[str, str], wanted: str | None
) -> Found:
    top = root.parent if root.is_file() else root
    parts, notes = _parts(top, [file.relative_to(top).as_posix() for file in files])
    source = {**kind, "path": shown_path(top), key: parts, **more}
    listing = read_listing(source)
    table = listing.columns.drop(columns="split")
    columns = read_columns(table, wanted, f"{plural(len(files), 'shard')} of {printable(root.name)}")
    _check(columns)
    cells, classes = label_cells(listing, columns.labels)
    if missing := int(cells[columns.main].isna().sum()):
        notes.append(f"{plural(missing, 'picture')} without a {columns.main}: no part in training")
    files_of = "tar shards, as WebDataset writes them" if kind["kind"] == "webdataset" else "Parquet with pictures"
    return Found(
        layout=f"{files_of}, {plural(len(files), 'file')}",
        name=data_name(root),
        source=source,
        labels=columns.labels,
        main=columns.main,
        listing=listing,
        cells=cells,
        classes=classes,
        levels=columns.levels,
        group=columns.group,
        task=columns.task,
        notes=[*notes, *columns.notes],
    )


def _check(columns: Columns) -> None:
    """Refuse what would need another table than the one in the shards."""
    if columns.rows is None:
        return
    rare = f" Fewer images than that have or lack: {examples(columns.left_aside, 6)}." if columns.left_aside else ""
    raise InitError(
        f"The label {columns.main!r} cannot be read from the shards as it stands there: {'; '.join(columns.notes)}."
        f"{rare} Name another column with --label, or write the shards again with one cell of a class, or of tags"
        " joined by '|', for each picture."
    )


def _parts(top: Path, names: list[str]) -> tuple[dict[str, str], list[str]]:
    """The names of each split's files as a pattern, or of all, and notes."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_split_of(name) or "all", []).append(name)
    aside = groups.pop("all", []) if len(groups) > 1 else []
    notes = [f"files left aside, as their names say no split: {examples(aside)}"] if aside else []
    order = [part for part in ("train", "val", "test", "all") if part in groups]
    return {part: _pattern(top, groups[part]) for part in order}, notes


def _split_of(name: str) -> str | None:
    *folders, file = name.split("/")
    return next((split for folder in folders if (split := official_split(folder))), split_in(Path(file).stem))


def _pattern(top: Path, names: list[str]) -> str:
    """A pattern that stands for these files alone.

    Raises:
        InitError: there is none.
    """
    for pattern in _patterns(names):
        if sorted(file.relative_to(top).as_posix() for file in top.glob(pattern)) == sorted(names):
            return pattern
    raise InitError(
        f"The files {examples(names)} belong together, and no pattern stands for them alone. Put the shards of each"
        " split into a folder of its own: train/, val/, test/."
    )


def _patterns(names: list[str]) -> Iterator[str]:
    if len(names) == 1:
        yield glob.escape(names[0])
    begin = os.path.commonprefix(names).rstrip("0123456789")  # noqa: RUF071 - of characters, not of folders
    suffix = Path(names[0]).suffix
    yield f"{glob.escape(begin)}*{suffix}"
    yield f"{glob.escape(begin)}*/*{suffix}"
