"""Files and folders appear whole or not at all."""

import hashlib
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
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"melt")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"melt").hexdigest()
