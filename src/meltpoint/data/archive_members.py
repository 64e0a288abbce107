"""The members of a zip or a tar in one form: names and sizes as declared; nothing is checked or written."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol

LONGEST_HEADER = 8_000_000  # bytes that a tar's own bookkeeping may ask for at once


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive; sizes in bytes, as declared.

    packed: its own packed size, where the format knows it.
    refused: what it is, if it is neither a plain file nor a folder.
    read: opens its content.
    """

    name: str
    size: int
    packed: int | None
    folder: bool
    refused: str | None
    read: Callable[[], AbstractContextManager[IO[bytes]]]


class Stream(Protocol):
    """What `tarfile` needs of a file."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""

    def seek(self, offset: int, /) -> int:
        """Go to byte `offset` of the unpacked stream."""

    def tell(self) -> int:
        """The byte that is read next."""


@contextmanager
def open_members(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of a zip or a tar (plain, gz, bz2, xz: its first bytes tell), readable while this is open."""
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
        return
    with _opener(start)(archive) as stream:
        bounded = _BoundedStream(stream)
        # `r:` undoes no compression itself, so every byte passes the bounded stream.
        with tarfile.open(fileobj=bounded, mode="r:") as tar:  # type: ignore[call-overload]
            yield _tar_members(tar, bounded)


class _BoundedStream:
    """A stream for `tarfile` that refuses the giant reads a forged header asks for."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def read(self, size: int) -> bytes:
        if size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self.stream.read(size)

    def seek(self, offset: int) -> int:
        return self.stream.seek(offset)

    def tell(self) -> int:
        return self.stream.tell()


def _opener(start: bytes) -> Callable[[Path], AbstractContextManager[Stream]]:
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile
    if start.startswith(b"BZh"):
        return bz2.BZ2File
    if start.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile
    return lambda archive: archive.open("rb")


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


def _tar_members(archive: tarfile.TarFile, stream: Stream) -> Iterator[Member]:
    for info in archive:
        refused = None
        if not (info.isreg() or info.isdir()):
            refused = "a link" if info.issym() or info.islnk() else "a device"
        elif info.issparse():
            refused = "a sparse file"
        yield Member(info.name, info.size, None, info.isdir(), refused, partial(_content, archive, info))
    stream.seek(archive.offset)
    rest = stream.read(LONGEST_HEADER)  # up to the end of the stream, where gzip, bz2 and xz check their sums
    if rest[: tarfile.BLOCKSIZE].strip(b"\0"):  # tarfile takes a spoilt header for the end
        raise tarfile.ReadError(f"no header at byte {archive.offset:,}")


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    assert content is not None, "plain files only are read"
    return content
