"""Whether the files that params.yaml names are those that were read: those of a source by names, sizes and times.

A weight file counts by its content: it is one file, and training again because it was copied or reinstalled is costly.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from meltpoint.data.delimited import column_named, read_cells
from meltpoint.data.listing import locate, repository
from meltpoint.data.packages import find_package
from meltpoint.data.shard_files import find_shards
from meltpoint.files import sha256_of, whole_folder, write_json
from meltpoint.params.data import Data, DescriptionTable, NameTable
from meltpoint.params.model import FileWeights, HubWeights, PackageWeights, RandomWeights, Weights
from meltpoint.params.sources import (
    ArchiveSource,
    CocoSource,
    CsvSource,
    FolderSource,
    MasksSource,
    PackageSource,
    ParquetSource,
    Source,
    WebdatasetSource,
    Yoga82Source,
)

MADE = ("data", "models", "repeats", "exports", "reports", "mlruns")  # by stages, in the repository
FINGERPRINT, ENCODERS, FORMATS = Path("fingerprint.json"), Path("encoders"), Path("formats.json")  # below data/
ABSENT = "absent"  # in place of size and time

Entry = tuple[str, str]  # a path as params.yaml names it or below that; its size in bytes and time in ns, or its sha256


@dataclass(frozen=True)
class Fingerprint:
    """What the stage writes: of each part `files` and a `sha256` over all its entries.

    parts: the source, and each table of names: what `download` reads.
    encoders: of each its weight file, and the taps that the heads of all strategies read: what `embed` needs.
    formats: of exports that are asked for: what `offer` judges. DVC cannot depend on a section that may be missing.
    """

    parts: dict[str, dict[str, Any]]
    encoders: dict[str, dict[str, Any]]
    formats: list[str]

    @property
    def files(self) -> dict[Path, Any]:
        """The content of each file that the stage writes below data/."""
        encoders = {ENCODERS / f"{name}.json": own for name, own in self.encoders.items()}
        return {FINGERPRINT: self.parts, FORMATS: self.formats, **encoders}

    @property
    def sentence(self) -> str:
        """The closing line."""
        looked = [*self.parts.values(), *(own["weights"] for own in self.encoders.values())]
        return f"{sum(part['files'] for part in looked):,} files looked at"

    def write(self, folder: Path) -> None:
        """Write fingerprint.json, and a file for each encoder: it changes only if that encoder's work does."""
        write_json(folder / FINGERPRINT, self.parts)
        write_json(folder / FORMATS, self.formats)
        with whole_folder(folder / ENCODERS) as encoders:
            for name, own in self.encoders.items():
                write_json(encoders / f"{name}.json", own)


def fingerprint_sources(
    data: Data,
    weights: Mapping[str, Weights],
    taps: Mapping[str, list[Any]],
    queries: Iterable[str] = (),
    formats: Iterable[str] = (),
) -> Fingerprint:
    """Look at each file that `download` reads: of folders at every one below, of tables at those that they name.

    And at the files of `weights`, by encoder, and of `queries`, which every encoder's heads begin with. What is at a
    URL has no entry: params.yaml has its sha256. `taps` and `formats` are only written down: what each encoder has to
    give, as JSON can hold it, and the exports that are asked for.

    Raises:
        SourceError: a folder, a table, or its column of paths is not there.
    """
    parts = {"source": _sum(_source_entries(data.source))}
    tables: dict[str, NameTable | DescriptionTable] = {f"names.{label}": own for label, own in data.names.items()}
    tables |= {f"descriptions.{label}": own for label, own in data.descriptions.items()}
    for part, table in tables.items():
        place = f"data.{part}"
        if table.package is None:
            path = locate(table.table, f"{place}.table")
        else:
            path = find_package(table.package, table.table, place) / table.table
        parts[part] = _sum([_entry("table", path)])
    begun = [(path, _content(Path(path))) for path in queries]
    more = {"queries": _sum(begun)} if begun else {}
    used = {
        name: {"weights": _sum(_weights_entries(own, f"encoders.{name}.weights")), "taps": taps[name], **more}
        for name, own in weights.items()
    }
    return Fingerprint(parts, used, list(formats))


def _weights_entries(weights: Weights, place: str) -> Iterator[Entry]:
    """The content of a weight file; `embed` reports if it is not there."""
    if isinstance(weights, HubWeights | RandomWeights):
        return
    key = "path" if isinstance(weights, FileWeights) else "file"
    try:
        match weights:
            case FileWeights():
                yield key, sha256_of(Path(weights.path))
            case PackageWeights():
                yield key, sha256_of(find_package(weights.package, weights.file, place) / weights.file)
            case _:
                assert_never(weights)
    except (OSError, ValueError):
        yield key, ABSENT


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ABSENT


def _sum(entries: Iterable[Entry]) -> dict[str, Any]:
    digest, files = hashlib.sha256(), 0
    for name, state in sorted(entries):
        digest.update(f"{name}\0{state}\n".encode("utf-8", "surrogateescape"))
        files += state != ABSENT
    return {"files": files, "sha256": digest.hexdigest()}


def _source_entries(source: Source) -> Iterator[Entry]:
    match source:
        case FolderSource():
            yield from _below("path", locate(source.path))
        case CsvSource():
            yield from _table_entries(source, locate(source.table), locate(source.images))
        case PackageSource():
            root = find_package(source.package, source.table, "data.source")
            yield from _table_entries(source, root / source.table, root / source.images)
        case ArchiveSource():
            if "://" not in source.location:
                yield _entry("location", locate(source.location))
        case Yoga82Source():
            lists = {"train": source.train, "test": source.test, "classes": source.classes}
            for key, path in lists.items():
                if path is not None:
                    yield _entry(key, locate(path, f"data.source.{key}"))
            yield from _below("images", locate(source.images, "data.source.images"))
        case MasksSource():
            for kind, named in (("images", source.images), ("masks", source.masks), ("lists", source.lists or {})):
                for part, path in named.items():
                    place = locate(str(Path(source.path, path)), f"data.source.{kind}.{part}")
                    yield from _below(f"{kind}.{part}", place)
        case CocoSource():
            for kind, named in (("images", source.images), ("annotations", source.annotations)):
                for part, path in named.items():
                    place = locate(str(Path(source.path, path)), f"data.source.{kind}.{part}")
                    yield from _below(f"{kind}.{part}", place)
        case WebdatasetSource():
            shards = find_shards(source.path, source.shards, "data.source.shards")
            yield from ((shard.prefix, shard.state) for shard in shards)
        case ParquetSource():
            shards = find_shards(source.path, source.files, "data.source.files")
            yield from ((shard.prefix, shard.state) for shard in shards)
        case _:
            assert_never(source)


def _table_entries(source: CsvSource | PackageSource, table: Path, images: Path) -> Iterator[Entry]:
    """The table and the files that it names, as the folder of images may be the repository itself."""
    yield _entry("table", table)
    names, rows, _ = read_cells(table, source.separator, source.header)
    place = names.index(column_named(names, source.path, "data.source.path"))
    for path in dict.fromkeys(row[place].replace("\\", "/") for row in rows):
        yield f"images/{path}", _state_of(os.path.join(images, path.removeprefix("file://")))  # noqa: PTH118 - speed


def _below(key: str, root: Path) -> Iterator[Entry]:
    """A file, or every file below a folder but hidden ones and what stages make; links are followed, not in circles."""
    if not root.is_dir():
        yield _entry(key, root)
        return
    made = {str(repository() / name) for name in MADE}
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(str(root), key, (os.path.realpath(root),))]
    while waiting:
        folder, name, above = waiting.pop()
        try:
            with os.scandir(folder) as opened:
                entries = list(opened)
        except OSError:  # `download` reports that it cannot be read
            continue
        for entry in entries:
            inside = f"{name}/{entry.name}"
            if entry.name.startswith(".") or entry.path in made:
                continue
            if not entry.is_dir():
                yield inside, _state_of(entry)
            elif not entry.is_symlink():
                waiting.append((entry.path, inside, above))
            elif (real := os.path.realpath(entry.path)) not in above:
                waiting.append((entry.path, inside, (*above, real)))


def _entry(name: str, path: Path) -> Entry:
    return name, _state_of(str(path))


def _state_of(file: "os.DirEntry[str] | str") -> str:
    """Size and time of the last change of a file, behind a link; or that there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - a Path for each of a million files is slow
    except (OSError, ValueError):
        return ABSENT
    return f"{found.st_size} {found.st_mtime_ns}"
