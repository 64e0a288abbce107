"""A manifest finds every difference of a folder, and names the file."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.model.manifest import MANIFEST, ManifestError, check_manifest, has_manifest, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files, one of them below a folder, and their manifest."""
    (tmp_path / "below").mkdir()
    for name in ("weights", "card.json", "below/words.txt"):
        (tmp_path / name).write_bytes(name.encode() * 9)
    write_manifest(tmp_path)
    return tmp_path


def test_it_lists_every_file_and_no_place_or_time(folder: Path) -> None:
    first = (folder / MANIFEST).read_bytes()
    written = json.loads(first)
    assert written["algorithm"] == "sha256"
    assert list(written["files"]) == ["below/words.txt", "card.json", "weights"]
    write_manifest(folder)
    assert (folder / MANIFEST).read_bytes() == first
    check_manifest(folder)


def test_every_difference_is_named_at_once(folder: Path) -> None:
    (folder / "weights").unlink()
    (folder / "below" / "words.txt").write_bytes(b"")
    (folder / "below" / "more").write_bytes(b"")
    told = r"changed: below/words\.txt; missing: weights; added: below/more\. .*dvc checkout"
    with pytest.raises(ManifestError, match=told):
        check_manifest(folder)


def test_many_names_are_counted(folder: Path) -> None:
    for number in range(7):
        (folder / f"{number}").touch()
    with pytest.raises(ManifestError, match="added: 0, 1, 2, 3, 4 and 2 more"):
        check_manifest(folder)


def test_a_link_to_nowhere_has_changed(folder: Path) -> None:
    """As a checkout of links leaves it when its cache is gone."""
    (folder / "weights").unlink()
    (folder / "weights").symlink_to(folder / "gone")
    with pytest.raises(ManifestError, match="changed: weights"):
        check_manifest(folder)


@pytest.mark.parametrize(
    "add", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/null"), lambda path: path.symlink_to("below")]
)
def test_what_is_not_a_regular_file_is_found_and_never_saved(folder: Path, add: Callable[[Path], None]) -> None:
    add(folder / "below" / "more")
    with pytest.raises(ManifestError, match="added: below/more"):
        check_manifest(folder)
    with pytest.raises(ManifestError, match="not a regular file: below/more"):
        write_manifest(folder)


def test_a_device_is_never_read(folder: Path) -> None:
    (folder / "weights").write_bytes(b"")
    write_manifest(folder)
    check_manifest(folder)
    (folder / "weights").unlink()
    (folder / "weights").symlink_to("/dev/null")  # its bytes are those that were saved; others would never end
    with pytest.raises(ManifestError, match="changed: weights"):
        check_manifest(folder)


def test_a_link_to_the_same_bytes_is_as_good(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.mktemp("cache") / "kept"
    (folder / "weights").rename(kept)
    (folder / "weights").symlink_to(kept)
    check_manifest(folder)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "[" * 200_000,
        '{"files": []}',
        '{"files": {"weights": "short"}}',
        '{"files": {"weights": 1}}',
        "\ud83d",
    ],
)
def test_what_is_no_manifest_is_told(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_bytes(content.encode("utf-16", "surrogatepass"))
    with pytest.raises(ManifestError, match=MANIFEST):
        check_manifest(folder)
    (folder / MANIFEST).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ManifestError, match=MANIFEST):
        check_manifest(folder)


def test_a_folder_without_one(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).symlink_to("/dev/null")
    assert not has_manifest(tmp_path)
    with pytest.raises(ManifestError, match="not a regular file"):
        check_manifest(tmp_path)
    (tmp_path / MANIFEST).unlink()
    assert not has_manifest(tmp_path)
    with pytest.raises(ManifestError, match="cannot be read"):
        check_manifest(tmp_path)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(min_size=1, max_size=200), data=st.data())
def test_any_changed_bit_is_found(
    content: bytes, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bits")
    (folder / "weights").write_bytes(content)
    write_manifest(folder)
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "weights").write_bytes(changed)
    with pytest.raises(ManifestError, match="changed: weights"):
        check_manifest(folder)
