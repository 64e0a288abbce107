"""The members of a zip or a tar in one form: names and sizes as declared; nothing is checked or written."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

LONGEST_HEADER = 8_000_000  # bytes that a tar's own headers may ask for at once

Stream = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | io.BufferedReader
COMPRESSED: dict[bytes, Callable[[Path], Stream]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive; sizes in bytes, as declared.

    packed: its own packed size, where the format knows it.
    refused: what it is, if it is neither a plain file nor a folder.
    read: opens its content.
    start: its first byte in the archive, of which it is a piece as it stands; None where it is packed.
    """

    name: str
    size: int
    packed: int | None
    folder: bool
    refused: str | None
    read: Callable[[], AbstractContextManager[IO[bytes]]]
    start: int | None = None


@contextmanager
def open_members(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of a zip or a tar (plain, gz, bz2, xz, known by its first bytes), readable while this is open."""
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
        return
    kinds = [kind for signature, kind in COMPRESSED.items() if start.startswith(signature)]
    with kinds[0](archive) if kinds else archive.open("rb") as stream:
        bounded = _BoundedStream(stream)
        # `r:` undoes no compression itself, so every byte passes the bounded stream.
        with tarfile.open(fileobj=bounded, mode="r:") as tar:  # type: ignore[call-overload]
            yield _tar_members(tar, bounded, bool(kinds))


class _BoundedStream:
    """A stream for `tarfile` that refuses the giant reads a forged header asks for."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.seek, self.tell = stream, stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self.stream.read(size)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        name = info.orig_filename  # `filename` ends at the first NUL
        folder = name.endswith(("/", "\\"))
        kind = stat.S_IFMT(info.external_attr >> 16)
        refused = None
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            refused = "a link" if kind == stat.S_IFLNK else "a device"
        elif info.flag_bits & 1:
            refused = "encrypted"
        elif folder and info.file_size:
            refused = "a folder with content"
        yield Member(name, info.file_size, info.compress_size, folder, refused, partial(archive.open, info))


def _tar_members(archive: tarfile.TarFile, stream: _BoundedStream, packed: bool) -> Iterator[Member]:
    for info in archive:
        refused = None
        if not (info.isreg() or info.isdir()):
            refused = "a link" if info.issym() or info.islnk() else "a device"
        elif info.issparse():
            refused = "a sparse file"
        read = partial(tarfile.ExFileObject, archive, info)
        yield Member(info.name, info.size, None, info.isdir(), refused, read, None if packed else info.offset_data)
    stream.seek(archive.offset)
    rest = stream.read(LONGEST_HEADER)  # up to the end of the stream, where gzip, bz2 and xz check their sums
    if rest[: tarfile.BLOCKSIZE].strip(b"\0"):  # tarfile takes a damaged header for the end
        raise tarfile.ReadError(f"no header at byte {archive.offset:,}")
