"""Files and folders appear whole or not at all."""

import errno
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from meltpoint.files import read_json, sha256_of, whole_file, whole_folder, write_json


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv"
    with whole_file(target) as temporary:
        temporary.write_text("a,b\n")
        assert not target.exists()
        assert temporary.suffix == ".csv"
    assert target.read_text() == "a,b\n"
    assert [path.name for path in target.parent.iterdir()] == ["table.csv"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "views"
    target.mkdir()
    (target / "old").touch()
    with whole_folder(target) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "views"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(target) as temporary:
        (temporary / "new").touch()
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_json_is_readable_and_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "树式", "value": 1.5})
    assert "树式" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"name": "树式", "value": 1.5}
    (tmp_path / "deep.json").write_text("[" * 200_000)
    (tmp_path / "device.json").symlink_to("/dev/null")
    for name, told in (("deep", "nested too deeply"), ("device", "not a regular file")):
        with pytest.raises(ValueError, match=told):
            read_json(tmp_path / f"{name}.json")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"melt")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"melt").hexdigest()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_kept(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, kept, other = (
        tmp_path / f".{name}.abcdefgh" for name in (f"views.{gone.pid}", f"views.{os.getpid()}", "views.x")
    )
    for folder in (left, kept, other):
        folder.mkdir()
        (folder / "half").touch()
    with whole_folder(tmp_path / "views") as temporary:
        (temporary / "new").touch()
    assert sorted(tmp_path.iterdir()) == sorted([kept, other, tmp_path / "views"])


def test_the_old_folder_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "views"
    for content in ("old", "new"):
        with whole_folder(target) as temporary:
            (temporary / "file").write_text(content)
            assert not target.exists() or (target / "file").read_text() == "old"
    assert (target / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "樹" * 83 + ".png"])
def test_names_may_be_as_long_as_a_name_may_be(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / name) as temporary:
        temporary.write_text("whole")
    with whole_folder(tmp_path / "folder" / name) as folder:
        (folder / "file").touch()
    assert (tmp_path / name).read_text() == "whole"


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as full, whole_file(tmp_path / "table.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(tmp_path / "table.csv")
    with pytest.raises(OSError, match="No space left") as words, whole_folder(tmp_path / "model"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")  # as Rust says it
    assert (words.value.errno, words.value.filename) == (errno.ENOSPC, str(tmp_path / "model"))
    assert not list(tmp_path.iterdir())
