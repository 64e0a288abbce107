"""Unpacks an archive that nobody vouches for: it is checked whole before, nothing lands outside, nothing is a link."""

import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from meltpoint.data.archive_members import Member, open_members
from meltpoint.data.listing import PathError, plain_path, printable
from meltpoint.errors import UserError
from meltpoint.files import whole_folder
from meltpoint.progress import track

RATIO = 200  # unpacked bytes for a packed one; photographs have about 1, and zeros about 1,000
RATIO_FROM = 16_000_000  # bytes up to which a ratio says nothing
CHUNK = 1_000_000  # bytes


class ArchiveError(UserError, ValueError):
    """An archive is damaged, or holds something that is never unpacked."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; `total` in unpacked bytes."""

    members: int
    total: int


def unpack(archive: Path, folder: Path, limits: Limits) -> Path:
    """Unpack into `folder`, which appears whole or not at all, and return it.

    Raises:
        ArchiveError: it is neither zip nor tar, is damaged, exceeds the limits, or has a member that is absolute,
            leaves its folder, is a link or a device, stands twice, or is encrypted. Nothing is written then; a member
            of another size than it declared is met while writing, and what was written is removed.
    """
    with _damage_told(archive), open_members(archive) as opened:
        members = _checked(opened, limits, archive.stat().st_size)
        _check_room(folder, sum(member.size for _, member in members))
        with whole_folder(folder) as temporary:
            for path, member in track(members, "unpack", unit="file"):
                _extract(member, temporary / path)
    return folder


def _checked(members: Iterable[Member], limits: Limits, packed: int) -> list[tuple[PurePosixPath, Member]]:
    """All members with their places, checked one by one, so that a bomb is met before its end is read."""
    found: dict[PurePosixPath, Member] = {}
    folders: set[PurePosixPath] = set()
    total = 0
    for count, member in enumerate(track(members, "check", unit="file"), start=1):
        path = _place(member)
        total += member.size
        _check_bomb(member, count, total, limits, packed)
        if path in found and not (member.folder and found[path].folder):
            raise _refusal(member, "stands in it twice")
        found[path] = member
        folders.update(path.parents)
    for path, member in found.items():
        if path in folders and not member.folder:
            raise _refusal(member, "is a file and a folder")
    return list(found.items())


def _place(member: Member) -> PurePosixPath:
    if member.folder and member.name.rstrip("/") == ".":
        return PurePosixPath()
    try:
        return PurePosixPath(plain_path(member.name))
    except PathError as error:
        raise _refusal(member, str(error)) from None


def _check_bomb(member: Member, count: int, total: int, limits: Limits, packed: int) -> None:
    """Refuse by kind, count, total and ratio, of this member and of all so far against the size of the archive."""
    if member.refused:
        raise _refusal(member, f"is {member.refused}; only plain files and folders are unpacked")
    if member.size < 0:
        raise _refusal(member, "has a negative size")
    if count > limits.members:
        raise ArchiveError(
            f"The archive holds more than {limits.members:,} files and folders, the most that data.source.max_members "
            "allows. Raise it if that is meant."
        )
    if total > limits.total:
        raise ArchiveError(
            f"The archive unpacks to {total:,} bytes or more, and data.source.max_gigabytes allows {limits.total:,}. "
            "Raise it if that is meant."
        )
    for size, source in ((total, packed), (member.size, member.packed)):
        if source is not None and size > max(RATIO_FROM, RATIO * source):
            raise _refusal(
                member, f"makes it a bomb: {source:,} bytes unpack to {size:,} or more, over {RATIO} times as many"
            )


def _refusal(member: Member, flaw: str) -> ArchiveError:
    return ArchiveError(
        f"The archive is refused, and nothing of it was kept. Its member {printable(member.name)!r}: {flaw}. "
        "If you trust it, unpack it yourself and use `kind: folder` or `kind: csv`."
    )


def _check_room(folder: Path, total: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if total > free:
        raise ArchiveError(
            f"The archive unpacks to {total:,} bytes, and {folder.parent} has {free:,} free. Make room, and run again."
        )


def _extract(member: Member, target: Path) -> None:
    """Write a member to a new place, and hold it to the size it declared."""
    if member.folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with member.read() as packed, target.open("xb") as file:
        while chunk := packed.read(min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            file.write(chunk)
    if left:
        raise _refusal(member, f"does not have the {member.size:,} bytes that it declares")


@contextmanager
def _damage_told(archive: Path) -> Iterator[None]:
    """Whatever the libraries raise over bad bytes becomes an ArchiveError; trouble of the disk stays what it is."""
    try:
        yield
    except FileExistsError as error:
        raise ArchiveError(
            f"Two members of {archive.name} have one name on this file system: {error.filename}. Rename one of them."
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(archive, error) from error
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        UnicodeError,
    ) as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    return ArchiveError(
        f"{archive.name} cannot be unpacked as a zip or tar(.gz, .bz2, .xz): {error}. Get it again, or unpack it "
        "yourself and use `kind: folder` or `kind: csv`."
    )
