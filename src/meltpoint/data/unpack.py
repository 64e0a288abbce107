"""Unpacks an archive that is not trusted: all of it is checked first, nothing lands outside, nothing is a link."""

import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from meltpoint.data.archive_members import Member, open_members
from meltpoint.data.listing import PathError, plain_path, printable
from meltpoint.errors import UserError
from meltpoint.files import whole_folder
from meltpoint.progress import track

RATIO = 200  # unpacked bytes for a packed one; photographs have about 1, and zeros about 1,000
RATIO_FROM = 16_000_000  # bytes up to which a ratio says nothing
CHUNK = 1_000_000  # bytes
DAMAGE = (  # what the libraries raise over bad bytes
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    UnicodeError,
)


class ArchiveError(UserError, ValueError):
    """An archive is damaged, or holds something that is never unpacked."""


def unpack(archive: Path, folder: Path, max_members: int, max_bytes: int) -> Path:
    """Unpack into `folder`, which appears whole or not at all, and return it.

    Raises:
        ArchiveError: it is neither zip nor tar, is damaged, has more members or unpacked bytes than allowed, or has a
            member that is absolute, leaves its folder, is a link or a device, is there twice, or is encrypted. Nothing
            is written then; a member of another size than declared is found while writing, and what was written is
            removed.
    """
    with _damage_as_error(archive), open_members(archive) as opened:
        members = _checked(opened, max_members, max_bytes, archive.stat().st_size)
        folder.parent.mkdir(parents=True, exist_ok=True)
        total, free = sum(member.size for member in members.values()), shutil.disk_usage(folder.parent).free
        if total > free:
            raise ArchiveError(
                f"The archive unpacks to {total:,} bytes, and {folder.parent} has {free:,} free. Free some space, and "
                "run again."
            )
        with whole_folder(folder) as temporary:
            for path, member in track(members.items(), "unpack", unit="file"):
                _extract(member, temporary / path)
    return folder


def _checked(members: Iterable[Member], max_members: int, max_bytes: int, packed: int) -> dict[PurePosixPath, Member]:
    """All members by their place, checked one by one, so that a bomb is found before its end is read."""
    found: dict[PurePosixPath, Member] = {}
    folders: set[PurePosixPath] = set()
    total = 0
    for count, member in enumerate(track(members, "check", unit="file"), start=1):
        try:
            root = member.folder and member.name.rstrip("/") == "."
            path = PurePosixPath() if root else PurePosixPath(plain_path(member.name))
        except PathError as error:
            raise _refusal(member, str(error)) from None
        total += member.size
        if count > max_members:
            raise ArchiveError(
                f"The archive holds more than {max_members:,} files and folders, the most that data.source.max_members "
                "allows. Raise it if that is meant."
            )
        if total > max_bytes:
            raise ArchiveError(
                f"The archive unpacks to {total:,} bytes or more, and data.source.max_gigabytes allows {max_bytes:,}. "
                "Raise it if that is meant."
            )
        _check_member(member, total, packed)
        if path in found and not (member.folder and found[path].folder):
            raise _refusal(member, "is in it twice")
        found[path] = member
        folders.update(path.parents)
    for path, member in found.items():
        if path in folders and not member.folder:
            raise _refusal(member, "is a file and a folder")
    return found


def _check_member(member: Member, total: int, packed: int) -> None:
    """Refuse a member by kind and size, and all so far (`total` bytes) against the size of the archive, `packed`."""
    if member.refused:
        raise _refusal(member, f"is {member.refused}; only plain files and folders are unpacked")
    if member.size < 0:
        raise _refusal(member, "has a negative size")
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
def _damage_as_error(archive: Path) -> Iterator[None]:
    """Whatever the libraries raise over bad bytes becomes an ArchiveError; errors of the disk stay what they are."""
    try:
        yield
    except FileExistsError as error:
        raise ArchiveError(
            f"Two members of {archive.name} have one name on this file system: {error.filename}. Rename one of them."
        ) from None
    except (OSError, *DAMAGE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(
            f"{archive.name} cannot be unpacked as a zip or tar(.gz, .bz2, .xz): {error}. Get it again, or unpack it "
            "yourself and use `kind: folder` or `kind: csv`."
        ) from error
