"""Reads the pictures of a piece, wherever they lie, into units: tables that hold pixels as a model takes them."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meltpoint.data.listing import PathError, Skipped, SourceError, plain_path, printable
from meltpoint.data.origins import parse_origin
from meltpoint.data.shard_files import ShardFile, find_files, local_copy, reaching
from meltpoint.data.sources.webdataset import read_samples
from meltpoint.images.decode import ImageError
from meltpoint.model.card import Card
from meltpoint.predict.inputs import Picture, Source, is_address, read_picture
from meltpoint.predict.predictor import BATCH
from meltpoint.prefetch import map_ahead

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = ("image", "path", "file", "file_name", "filename", "picture", "source", "url")  # of columns of paths
MISSING = "unreadable file"

Item = tuple[str, Callable[[], Source]]  # the name of a picture, and what gives it; that may raise


def read_units(piece: str, card: Card, base: str, column: str | None, whole: bool) -> "Iterator[pa.Table]":
    """The pictures of a piece, `BATCH` a unit: `source`, and `error` or what a model takes of it (see `pictures_of`).

    `base` is the folder that paths are relative to, `column` that of the pictures in parquet, None: it is found.
    `whole`: pictures stay as they are, for a model that looks at them part by part, or resizes them by itself.

    Raises:
        SourceError: a shard cannot be fetched.
    """
    asked = json.loads(piece)
    with tempfile.TemporaryDirectory() as work:
        items = _listed(asked["pictures"], base) if "pictures" in asked else _shard(asked, base, column, Path(work))
        rows = map_ahead(partial(_read, card=card, whole=whole), items, 2 * BATCH, None)
        yield _unit(list(islice(rows, BATCH)))
        while some := list(islice(rows, BATCH)):
            yield _unit(some)


def pictures_of(unit: "pa.Table", side: int) -> Iterator[Source]:
    """What a model is given of each row of a unit; pixels are where they lie in memory, uint8 (side, side, 3)."""
    for row in range(len(unit)):
        name, error = unit["source"][row].as_py(), unit["error"][row].as_py()
        if unit["content"][row].is_valid:
            yield unit["content"][row].as_py()
        elif unit["where"][row].is_valid:
            where = os.fsdecode(unit["where"][row].as_py())
            yield where if is_address(where) else Path(where)
        else:
            cell, extent = unit["pixels"][row], (unit["height"][row].as_py(), unit["width"][row].as_py())
            pixels = np.frombuffer(cell.as_buffer(), np.uint8).reshape(side, side, 3) if cell.is_valid else None
            yield Picture(name, pixels, error, extent, None, None)


def _unit(rows: list[dict[str, Any]]) -> "pa.Table":
    import pyarrow as pa

    types = {"source": pa.string(), "error": pa.string(), "height": pa.int32(), "width": pa.int32()}
    types |= dict.fromkeys(("pixels", "where", "content"), pa.large_binary())
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in types.items()})


def _read(item: Item, card: Card, whole: bool) -> dict[str, Any]:
    name, give = item
    try:
        given = give()
        if whole:
            place = "content" if isinstance(given, bytes) else "where"
            return {"source": name, place: given if isinstance(given, bytes) else os.fsencode(str(given))}
        picture = read_picture(given, card, None, whole=False)
    except (ImageError, OSError) as error:
        reason = error.reason if isinstance(error, ImageError) else MISSING
        return {"source": name, "error": reason, "height": 0, "width": 0}
    height, width = picture.extent
    pixels = None if picture.pixels is None else np.ascontiguousarray(picture.pixels).tobytes()
    return {"source": name, "error": picture.error, "height": height, "width": width, "pixels": pixels}


def _fails(name: str, reason: str) -> Item:
    def give() -> Source:
        raise ImageError(name, reason, "it holds no picture that can be read")

    return printable(name), give


def _listed(names: list[str], base: str) -> Iterator[Item]:
    for name in names:
        if is_address(name):
            yield name, partial(str, name)
        elif "://" in name:
            yield name, partial(_fetch, name)
        else:
            yield printable(name), partial(Path, base, name)


def _fetch(address: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(address, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise ImageError(address, MISSING, str(error)) from error
    except ImportError:  # no fault of the picture
        with reaching(address):
            raise
    except Exception as error:
        raise ImageError(address, f"cannot be fetched: {type(error).__name__}", str(error)) from error


def _shard(asked: dict[str, str], base: str, column: str | None, work: Path) -> Iterator[Item]:
    """The pictures in a shard; of one that is damaged, a row that says so."""
    name = asked["shard"]
    shard = find_files(name if "://" in name else os.path.join(base, name))[0]  # noqa: PTH118 - an address is no Path
    if shard.state != asked["state"]:
        raise SourceError(f"{name} has changed since this was begun. Begin anew, in another folder.")
    file = local_copy(shard, work)
    try:
        if name.lower().endswith(".parquet"):
            yield from _rows(shard, file, name, column)
        else:
            yield from _members(shard, file, name)
    except SourceError as error:
        why = str(error).split(". ")[0].rpartition(": ")[2]
        yield _fails(name, f"unreadable shard: {why}")


def _members(shard: ShardFile, file: Path, name: str) -> Iterator[Item]:
    ignored: list[Skipped] = []  # what is neither a picture nor a label
    for key, sample in read_samples(shard, file, ignored).items():
        for suffix, origin in sample.pictures:
            yield printable(f"{name}/{key}.{suffix}"), parse_origin(origin).read


def _rows(shard: ShardFile, file: Path, name: str, column: str | None) -> Iterator[Item]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, number = shard.name.rpartition("/")[0], 0
    try:
        with pq.ParquetFile(file) as opened:
            chosen = column or picture_column(opened.schema_arrow, name)
            if chosen not in opened.schema_arrow.names:
                raise SourceError(f"{name}: no column {chosen!r}, but {opened.schema_arrow.names}.")
            for batch in opened.iter_batches(BATCH, columns=[chosen]):
                for cell in batch.column(0).to_pylist():
                    yield _cell(cell, folder, f"{name}/{number:07}")
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{name} cannot be read as parquet: {(str(error).splitlines() or [''])[0][:200]}.") from None


def picture_column(schema: "pa.Schema", name: str) -> str:
    """The column of pictures: pairs of `bytes` and `path`, else bytes, else texts under a usual name.

    Raises:
        SourceError: there is none, or several.
    """
    import pyarrow as pa

    fields = list(schema)
    pairs = [one.name for one in fields if pa.types.is_struct(one.type) and one.type.get_field_index("bytes") >= 0]
    content = [one.name for one in fields if pa.types.is_binary(one.type) or pa.types.is_large_binary(one.type)]
    texts = [one.name for one in fields if one.name in NAMES and one.name not in content + pairs]
    found = pairs or content or texts
    if len(found) != 1:
        raise SourceError(
            f"{name}: {'several columns' if found else 'no column'} of pictures ({', '.join(found or schema.names)})."
            " Name it with --column."
        )
    return str(found[0])


def _cell(cell: Any, folder: str, name: str) -> Item:
    """A row's picture: bytes, a path below the folder of its file, or an address."""
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(content, str):
        content, path = None, content
    if isinstance(content, bytes):
        return name, partial(bytes, content)
    if not path:
        return _fails(name, "a row without a picture")
    try:
        where = path if "://" in path else f"{folder}/{plain_path(path)}"
    except PathError:
        return _fails(name, "a path that leaves its folder")
    return next((name, give) for _, give in _listed([where], ""))
