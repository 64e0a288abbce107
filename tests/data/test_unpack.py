"""Hostile archives: nothing may land outside, and nothing may be written before all of it was judged."""

import io
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.unpack import ArchiveError, unpack

LIMITS = (100, 100_000_000)  # members, unpacked bytes
NAMES = st.lists(
    st.text(alphabet=st.sampled_from("ab./\\:C~é\0"), min_size=1, max_size=10)
    | st.sampled_from(["../x", "/x", "a/../../x", "..\\x", "C:\\x", "a", "a/b", "./a", "A", "a/", "..", "."])
    | st.text(min_size=1, max_size=12),
    min_size=1,
    max_size=4,
)

Write = Callable[[Path, list[tuple[str, bytes]]], None]


def write_zip(path: Path, files: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            archive.NameToInfo.clear()  # or it warns of a name that stands twice
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)


def write_tar(path: Path, files: list[tuple[str, bytes]], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_what_was_packed_is_unpacked(tmp_path: Path, mode: str) -> None:
    files = [("cat/a.png", b"a" * 1000), ("./dog/b b.png", random.Random(0).randbytes(3_000_000)), ("empty", b"")]
    path = tmp_path / "some.archive"
    if mode == "zip":
        write_zip(path, files)
    else:
        write_tar(path, files, mode)
    root = unpack(path, tmp_path / "out", *LIMITS)
    assert contents(root) == {name.removeprefix("./"): data for name, data in files}


def test_folders_and_the_root_itself_are_no_trouble(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in (".", "cat", "cat"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.mkdir("cat")
        packed.writestr("dog\\b.png", b"b")  # as some tools on Windows write it
    assert (unpack(tmp_path / "a.tar", tmp_path / "tar", *LIMITS) / "cat").is_dir()
    assert contents(unpack(tmp_path / "a.zip", tmp_path / "zip", *LIMITS)) == {"dog/b.png": b"b"}


@pytest.mark.parametrize("write", [write_zip, write_tar])
@given(names=NAMES)
def test_nothing_ever_lands_outside(tmp_path_factory: pytest.TempPathFactory, write: Write, names: list[str]) -> None:
    place = tmp_path_factory.mktemp("place")
    archive, target = place / "in" / "archive", place / "deep" / "er" / "target"
    archive.parent.mkdir()
    try:
        write(archive, [(name, b"content") for name in names])
    except (UnicodeError, ValueError):
        return  # a name that the format cannot even hold
    before = archive.read_bytes()
    try:
        unpack(archive, target, *LIMITS)
    except ArchiveError:
        assert not target.exists()
    written = {file for file in place.rglob("*") if file.is_file()} - {archive}
    assert all(file.resolve().is_relative_to(target) for file in written)
    assert not any(file.is_symlink() for file in place.rglob("*"))
    assert archive.read_bytes() == before


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["good.png", "../bad.png"], r"\.\./bad\.png.*leaves its folder"),
        (["same.png", "./same.png"], "is in it twice"),
        (["a", "a/b.png"], "a file and a folder"),
        (["n" * 300], "too long"),
    ],
)
def test_bad_names_are_refused_before_anything_is_written(
    tmp_path: Path, write: Write, names: list[str], match: str
) -> None:
    write(tmp_path / "archive", [(name, b"x") for name in names])
    with pytest.raises(ArchiveError, match=match):
        unpack(tmp_path / "archive", tmp_path / "sub" / "out", *LIMITS)
    assert not (tmp_path / "sub").exists()


@pytest.mark.parametrize(("mode", "match"), [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a device")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, mode: int, match: str) -> None:
    info = zipfile.ZipInfo("harmless")
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match=match):
        unpack(tmp_path / "a.zip", tmp_path / "out", *LIMITS)


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize(
    ("limits", "files", "match"),
    [
        ((3, 10**9), [(f"{n}.png", b"x") for n in range(4)], "more than 3 files"),
        ((9, 1000), [("a", bytes(range(256)) * 2), ("b", bytes(range(256)) * 2)], "max_gigabytes allows 1,000"),
        ((9, 10**9), [("zeros", bytes(20_000_000))], "a bomb: .* over 200 times"),
    ],
)
def test_bombs_are_refused(
    tmp_path: Path, write: Write, limits: tuple[int, int], files: list[tuple[str, bytes]], match: str
) -> None:
    write(tmp_path / "archive", files)
    with pytest.raises(ArchiveError, match=match):
        unpack(tmp_path / "archive", tmp_path / "sub" / "out", *limits)
    assert not (tmp_path / "sub").exists()


def test_a_bomb_among_honest_files_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", [("honest", random.Random(1).randbytes(200_000)), ("zeros", bytes(17_000_000))])
    with pytest.raises(ArchiveError, match="'zeros'.* a bomb"):
        unpack(tmp_path / "a.zip", tmp_path / "out", *LIMITS)


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damage_leaves_nothing_behind(tmp_path: Path, mode: str, damage: str) -> None:
    path, data = tmp_path / "archive", random.Random(2).randbytes(5000)
    if mode == "zip":
        write_zip(path, [("a", data), ("b", data[::-1])])
    else:
        write_tar(path, [("a", data), ("b", data[::-1])], mode)
    whole = bytearray(path.read_bytes())
    if damage == "cut":
        del whole[len(whole) // 2 :]
    elif mode == "w":
        whole[512 + 5120 + 10] ^= 0xFF  # in the second header
    else:
        whole[3000] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out", *LIMITS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("data", [b"", b"PK", b"no archive at all", b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\0", b"x" * 2000])
def test_what_is_no_archive_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "archive"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out", *LIMITS)


@given(st.binary(max_size=600))
def test_any_bytes_end_in_an_archive_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    place = tmp_path_factory.mktemp("place")
    valid = place / "valid"
    write_tar(valid, [("a", b"x" * 300)], "w")
    path = place / "archive"
    path.write_bytes(data + valid.read_bytes()[len(data) :])
    try:
        unpack(path, place / "out", *LIMITS)
    except ArchiveError:
        assert not (place / "out").exists()
    assert {entry.name for entry in place.iterdir()} <= {"valid", "archive", "out"}
