import io
import tarfile
from pathlib import Path

import pytest

from meltpoint.data.archive_members import LONGEST_HEADER, open_members


def test_members_say_what_they_declare(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    with open_members(tmp_path / "a.tar") as members:
        (member,) = members
        assert (member.name, member.size, member.packed, member.folder, member.refused) == (
            "a.png",
            3,
            None,
            False,
            None,
        )
        with member.read() as content:
            assert content.read() == b"abc"


def test_a_forged_header_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.png")
    info.type, info.size = tarfile.XHDTYPE, 2 * LONGEST_HEADER
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(3 * LONGEST_HEADER)
    with pytest.raises(tarfile.ReadError, match="a header of 16,000,"), open_members(tmp_path / "a.tar") as members:
        list(members)


def test_a_sparse_file_is_not_plain(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.png")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"  # the size it would have
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    with open_members(tmp_path / "a.tar") as members:
        assert [member.refused for member in members] == ["a sparse file"]
