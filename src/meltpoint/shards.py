"""The files of a dataset in a few archives (shards), which DVC looks at far faster than at 100,000 single files.

Shards are .zip files without compression, which any tool opens. Files stand in the order of their paths. A new shard
begins at each picture whose path has a sha256 that starts with two zeros: at one picture in 256, so that a shard has
256 on average. A picture that is added, removed or replaced changes only the shard in which it lies, and pictures
with neighbouring paths (a new folder, the next numbers) lie in the same ones. All other shards keep their bytes, and
DVC's cache holds those once. (Content-defined chunking: Muthitacharoen et al., LBFS, SOSP 2001.)
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile, ZipInfo

from meltpoint.errors import UserError

BOUNDARY = "00"  # how the sha256 of a path begins that begins a shard
HEADER = 30  # bytes before the name of a member; the last four are the lengths of name and extra field

Read = Callable[[str], bytes]  # path to content


class ShardError(UserError, RuntimeError):
    """A file is not in the shards, or a shard is damaged."""


class Place(NamedTuple):
    """Where a file lies: its shard, the start of its header and its length there in bytes, and its CRC-32."""

    shard: str
    start: int
    length: int
    crc: int


@dataclass(frozen=True)
class Shards:
    """Open shards. Any thread or process may read: each read opens the file and shares nothing."""

    folder: Path
    places: Mapping[str, Place]

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            ShardError: it is not there, or was damaged since it was written.
        """
        try:
            place = self.places[path]
            with (self.folder / place.shard).open("rb") as file:
                file.seek(place.start)
                header = file.read(HEADER)
                file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
                content = file.read(place.length)
        except (KeyError, FileNotFoundError):
            raise _error(self.folder, f"{self.folder} does not hold {path!r}") from None
        if zlib.crc32(content) != place.crc:
            raise _error(self.folder, f"{self.folder / place.shard} is damaged at {path!r}: wrong checksum")
        return content


def open_shards(folder: Path) -> Shards:
    """Read the tables of contents of all shards of a folder, once: about 10 us for each file.

    Raises:
        ShardError: a shard is damaged.
    """
    places = {}
    for path in sorted(folder.glob("*.zip")):
        try:
            with ZipFile(path) as archive:
                for member in archive.infolist():
                    places[member.filename] = Place(path.name, member.header_offset, member.file_size, member.CRC)
        except BadZipFile as error:
            raise _error(folder, f"{path} is damaged: {error}") from error
    return Shards(folder, places)


def write_shards(groups: Iterable[Mapping[str, bytes]], folder: Path) -> None:
    """Write files into the shards of an empty folder: equal files give equal bytes.

    Each group (path to content) stays in one shard, as a picture and its mask do; its first path is the picture's.
    Groups come in the order of these paths, and one at a time is in memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        archive, count = None, 0
        for group in groups:
            if archive is None or hashlib.sha256(next(iter(group)).encode()).hexdigest().startswith(BOUNDARY):
                opened.close()
                archive = opened.enter_context(ZipFile(folder / f"{count:05}.zip", "x"))
                count += 1
            for path, content in group.items():
                member = ZipInfo(path)  # of 1980, and not compressed
                member.create_system, member.external_attr = 3, 0o100644 << 16
                archive.writestr(member, content)


def _error(folder: Path, what: str) -> ShardError:
    return ShardError(f"{what}. Restore it: dvc checkout {folder}. Or read the source again: dvc repro download")
