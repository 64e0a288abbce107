import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from meltpoint import parts
from meltpoint.parts import Parts, PartsError, files_of, open_parts, write_parts

VALUES = np.random.default_rng(0).normal(size=(23, 4, 6)).astype(np.float32)  # rows of 96 bytes


def written(path: Path, values: NDArray[Any], limit: int, at_once: int = 100) -> Parts:
    """The array on the disk, `at_once` bytes a time, in files of `limit` bytes at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", limit)
        with write_parts(path, values.shape, values.dtype.str) as writer:
            data = values.tobytes()
            for start in range(0, len(data), at_once):
                writer.write(data[start : start + at_once])
    found = open_parts(path)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return written(tmp_path_factory.mktemp("many") / "a.npy", VALUES, 128 + 96 * 5)


def test_what_fits_is_one_file_as_numpy_writes_it(tmp_path: Path) -> None:
    written(tmp_path / "a.npy", VALUES, 128 + VALUES.nbytes)
    np.save(tmp_path / "b.npy", VALUES)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert [path.name for path in files_of(tmp_path / "a.npy")] == ["a.npy"]


def test_what_does_not_fit_is_in_files_that_are_no_larger_than_allowed(many: Parts) -> None:
    assert [file.name for file in many.files] == [f"a-0000{number}-of-00005.npy" for number in range(5)]
    assert max(file.stat().st_size for file in many.files) == 128 + 96 * 5
    assert [len(np.load(file)) for file in many.files] == [5, 5, 5, 5, 3]
    assert (np.concatenate([np.load(file) for file in many.files]) == VALUES).all()


@given(st.lists(st.integers(0, 22), max_size=30), st.booleans())
def test_rows_come_in_the_order_asked_for(many: Parts, rows: list[int], backwards: bool) -> None:
    asked = np.array(rows[:: -1 if backwards else 1], np.int64)
    assert (many.read(asked) == VALUES[asked]).all()
    result, places = np.zeros((40, 4, 6), np.float32), np.random.default_rng(1).permutation(40)[: len(asked)]
    many.read_into(result, asked, places)
    assert (result[places] == VALUES[asked]).all()
    assert np.count_nonzero(result.any((1, 2))) == len(asked)


@pytest.mark.parametrize("key", [3, -1, np.int64(22), slice(4, 17, 3), [5, 0, 19], (7, 2), (slice(None), 1), slice(0)])
def test_it_is_indexed_as_an_array(many: Parts, key: Any) -> None:
    found, wanted = many[key], VALUES[key]
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert (found == wanted).all()


def test_two_axes_can_be_read_as_one(many: Parts) -> None:
    assert (np.asarray(many.joined) == VALUES.reshape(-1, 6)).all()
    assert (many.joined[[91, 3, 40]] == VALUES.reshape(-1, 6)[[91, 3, 40]]).all()


def test_a_row_larger_than_a_file_has_one_for_itself(tmp_path: Path) -> None:
    found = written(tmp_path / "a.npy", VALUES[:3], 10, 7)
    assert (len(found.files), found.shape) == (3, (3, 4, 6))
    assert (np.asarray(found) == VALUES[:3]).all()


def test_an_array_without_rows_is_one_file(tmp_path: Path) -> None:
    found = written(tmp_path / "a.npy", VALUES[:0], 300)
    assert (len(found), found[:].shape, len(found.files)) == (0, (0, 4, 6), 1)


def test_one_file_is_open_at_a_time(many: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real_open, real_close = os.open, os.close
    most = 0

    def note(*given: Any) -> int:
        nonlocal most
        opened.append(real_open(*given))
        most = max(most, len(opened))
        return opened[-1]

    monkeypatch.setattr(parts.os, "open", note)
    monkeypatch.setattr(parts.os, "close", lambda number: (opened.remove(number), real_close(number)))
    many.read(np.random.default_rng(0).permutation(23))
    assert (most, opened) == (1, [])


def spoil(what: str, file: Path) -> None:
    match what:
        case "missing":
            file.unlink()
        case "cut":
            os.truncate(file, 200)
        case "empty":
            file.write_bytes(b"")
        case "other rows":
            np.save(file, np.zeros((5, 4), np.float32))
        case "fewer rows":
            np.save(file, VALUES[:2])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "a-00001-of-00005.npy is missing, one of the parts"),
        ("cut", "a-00001-of-00005.npy is no whole array"),
        ("empty", "a-00001-of-00005.npy is no whole array"),
        ("other rows", "has rows \\(4,\\) of float32, and a-00000-of-00005.npy has \\(4, 6\\)"),
        ("fewer rows", "have \\[5, 2, 5, 5, 3\\] rows"),
    ],
)
def test_parts_that_do_not_fit_are_refused(many: Parts, tmp_path: Path, what: str, message: str) -> None:
    for file in many.files:
        shutil.copy(file, tmp_path)
    spoil(what, tmp_path / many.files[1].name)
    with pytest.raises(PartsError, match=f"{message}.*dvc checkout"):
        open_parts(tmp_path / "a.npy")


def test_nothing_is_none(tmp_path: Path) -> None:
    assert open_parts(tmp_path / "a.npy") is None


def test_rows_can_be_written_in_any_order(many: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 128 + 96 * 5)
    with write_parts(tmp_path / "a.npy", VALUES.shape, "<f4") as writer:
        for start in (14, 0, 21, 7):
            writer.write(VALUES[start : start + 7].tobytes(), start * 96)
    for file in many.files:
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_an_array_with_values_missing_is_not_taken_for_whole(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="96 bytes are missing"),
        write_parts(tmp_path / "a.npy", VALUES.shape, "<f4") as writer,
    ):
        writer.write(VALUES[1:].tobytes())
