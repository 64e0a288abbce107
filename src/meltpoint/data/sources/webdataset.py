"""Source kind `webdataset`: tar shards whose files of one name are one sample, as 17.jpg, 17.cls and 17.json."""

import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.data.archive_members import Member, open_members
from meltpoint.data.cell_text import cell_of
from meltpoint.data.class_folders import SUFFIXES
from meltpoint.data.listing import Listing, PathError, Skipped, SourceError, files_table, plain_path, printable
from meltpoint.data.origins import piece
from meltpoint.data.shard_files import ShardFile, find_shards, local_copy, watched
from meltpoint.params.sources import WebdatasetSource

LONGEST = 1_000_000  # bytes of a label
JSON = "json"
END = 2 * tarfile.BLOCKSIZE  # bytes of zeros at the end of each tar
LABELS = ("cls", "txt", "text", JSON)  # suffixes of files that hold labels


@dataclass
class Sample:
    """The files of one name: pictures as (suffix, origin), and labels by column."""

    pictures: list[tuple[str, str]] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)


def read(source: WebdatasetSource, work: Path) -> Listing:
    """List the pictures in the shards, with the columns `split`, `cls`, `txt`, and one for each key of the JSON.

    Pictures stay in the shards; those of other machines are copied into `work` as they are.

    Raises:
        SourceError: there are no such shards, one is damaged, or samples have several pictures.
    """
    rows: list[tuple[str, str, str | None, dict[str, str]]] = []
    unusable: list[Skipped] = []
    ignored: list[Skipped] = []
    for shard in watched(find_shards(source.path, source.shards, "data.source.shards")):
        file = local_copy(shard, work)
        for key, sample in read_samples(shard, file, ignored).items():
            name = f"{shard.prefix}/{key}"
            pictures = [one for one in sample.pictures if source.picture in (None, one[0])]
            if len(pictures) > 1:
                raise SourceError(
                    f"The sample {name!r} has the pictures {[one[0] for one in pictures]}. Say which one is meant:"
                    f" set data.source.picture to its suffix, as {pictures[0][0]!r}."
                )
            if not pictures:
                ignored.append(Skipped(printable(name), "a sample without a picture"))
                continue
            suffix, origin = pictures[0]
            try:
                rows.append((plain_path(f"{name}.{suffix}"), origin, shard.split, sample.cells))
            except PathError as error:
                unusable.append(Skipped(printable(name), str(error)))
    columns = pd.DataFrame([{"split": split or "", **cells} for _, _, split, cells in rows], dtype="string").fillna("")
    files = files_table([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    return Listing(f"webdataset {source.path}", files, columns, unusable, ignored)


def read_samples(shard: ShardFile, file: Path, ignored: list[Skipped]) -> dict[str, Sample]:
    """The samples of a shard by their key: the path in the tar up to the first dot of its last part.

    Raises:
        SourceError: it is damaged, packed, or a label cannot be read.
    """
    samples: dict[str, Sample] = {}
    with _members(file) as members:
        for member in members:
            name = member.name.removeprefix("./")
            folder, _, last = name.rpartition("/")
            stem, _, suffix = last.partition(".")
            known = f".{suffix.lower().rpartition('.')[2]}" in SUFFIXES or suffix in LABELS
            if member.folder:
                continue
            if member.refused or not stem or not known or (suffix in LABELS and member.size > LONGEST):
                why = member.refused or "neither a picture nor a label"
                ignored.append(Skipped(printable(f"{shard.prefix}/{name}"), why))
                continue
            sample = samples.setdefault(f"{folder}/{stem}" if folder else stem, Sample())
            if suffix in LABELS:
                with member.read() as content:
                    sample.cells |= _cells(suffix, content.read(), f"{shard.prefix}/{name}")
            else:
                assert member.start is not None
                sample.pictures.append((suffix, piece(file, member.start, member.size)))
    return samples


@contextmanager
def _members(file: Path) -> Iterator[Iterator[Member]]:
    """The members of a plain tar."""
    try:
        with open_members(file) as members:
            yield _plain(file, members)
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise SourceError(
            f"The shard {file} cannot be read as a tar: {error}. Copy it again, or take it out of the source."
        ) from None


def _plain(file: Path, members: Iterator[Member]) -> Iterator[Member]:
    for member in members:
        if member.start is None:
            raise SourceError(f"{file} is packed, and pictures are read out of plain tars. Unpack it to .tar.")
        yield member
    with file.open("rb") as tar:
        tar.seek(-END, os.SEEK_END)
        if tar.read().strip(b"\0"):  # cut between two members, it looks like a smaller tar
            raise tarfile.ReadError("it ends too early")


def _cells(suffix: str, content: bytes, name: str) -> dict[str, str]:
    try:
        text = content.decode("utf-8")
        value: Any = json.loads(text) if suffix == JSON else text.strip()
        named = value if isinstance(value, dict) else {suffix: value}
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{printable(name)} cannot be read: {type(error).__name__}: {error}. Allowed is UTF-8"
            f"{' JSON' if suffix == JSON else ' text'}. Write the shard again."
        ) from None
    cells = {str(column): cell_of(own) for column, own in named.items()}
    return {column: cell for column, cell in cells.items() if cell is not None}
