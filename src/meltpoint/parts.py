"""Arrays on disk, cut along their first axis into files of at most 4 GB, of which one is open at a time."""

import glob
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Ints
from meltpoint.errors import UserError

PART_BYTES = 4_000_000_000  # of a file, at most, unless one row is larger
HEADER = 128  # bytes of it that say what the array is


class PartsError(UserError, RuntimeError):
    """A file of an array is missing, was cut, or does not belong to the others."""


@dataclass(frozen=True)
class Parts:
    """An array (N, ...) in `files`, each with `rows` of its rows, the last one with the rest.

    It is indexed as an array is, and gives a copy of what was asked for. Rows are read, not mapped: each touched row of
    a map can bring 2 MB of the file into this process's memory.
    """

    files: tuple[Path, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int
    offset: int  # of the first row in each file, bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """What a place, a slice or places (n,) of the first axis have, and of that what further places say."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        rows = np.asarray(first if isinstance(first, np.ndarray | list) else range(len(self))[first], np.int64)
        values = self.read(rows.reshape(-1)).reshape(*rows.shape, *self.shape[1:])
        found: NDArray[Any] = values[(slice(None),) * rows.ndim + tuple(rest)]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    @property
    def row_bytes(self) -> int:
        """How large a row is."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def joined(self) -> "Parts":
        """The same with its first two axes as one: (N, V, ...) as (N * V, ...)."""
        rows, views, *rest = self.shape
        return replace(self, shape=(rows * views, *rest), rows=self.rows * views)

    def read(self, rows: Ints) -> NDArray[Any]:
        """Rows (n,), in that order: (n, ...).

        Raises:
            EOFError: a file was cut after it was opened.
        """
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        self.read_into(result, rows, np.arange(len(rows)))
        return result

    def read_into(self, result: NDArray[Any], rows: Ints, places: Ints) -> None:
        """Read rows (n,), in the order of the disk, into `result` (B, ...) at `places` (n,)."""
        size = self.row_bytes
        if not len(rows) or not size:
            return
        target = result.data.cast("B")
        order, numbers = np.argsort(rows).tolist(), rows.tolist()
        for file, group in groupby(order, lambda index: int(numbers[index]) // self.rows):
            descriptor = os.open(self.files[file], os.O_RDONLY)
            try:
                for index in group:
                    start, row = int(places[index]) * size, numbers[index] - file * self.rows
                    found = os.preadv(descriptor, [target[start : start + size]], self.offset + row * size)
                    if found != size:
                        raise EOFError(
                            f"{self.files[file]} ends within row {numbers[index]}: it was cut after it was opened"
                        )
            finally:
                os.close(descriptor)


class Writer:
    """Writes an array row after row, or where it is said: a memory map would keep every page it wrote in memory."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.place, self.left = parts, 0, len(parts) * parts.row_bytes
        self.open: tuple[int, BinaryIO] | None = None  # the number of a file, and it

    def write(self, data: bytes | memoryview, at: int | None = None) -> None:
        """The bytes of the next values, or of those from byte `at` of the whole array on; they may end within a row."""
        left, whole = memoryview(data), self.parts.rows * self.parts.row_bytes
        self.place = self.place if at is None else at
        while len(left):
            number, start = divmod(self.place, whole)
            file = self._file(number)
            if file.tell() != self.parts.offset + start:  # to seek would write out what is buffered
                file.seek(self.parts.offset + start)
            taken = file.write(left[: whole - start])
            left, self.place, self.left = left[taken:], self.place + taken, self.left - taken

    def close(self) -> None:
        """Nothing more is written."""
        if self.open:
            self.open[1].close()

    def _file(self, number: int) -> BinaryIO:
        if self.open is None or self.open[0] != number:
            self.close()
            self.open = number, self.parts.files[number].open("r+b")
        return self.open[1]


@contextmanager
def write_parts(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[Writer]:
    """An array of that shape as the file `path`, a .npy, or, if that would be too large, in numbered files beside it.

    `a.npy` becomes `a-00000-of-00002.npy` and `a-00001-of-00002.npy`, each a .npy with so many rows as fit. Every value
    has to be written, once.
    """
    row = np.dtype(dtype).itemsize * math.prod(shape[1:])
    rows = max(1, (PART_BYTES - HEADER) // max(1, row))
    count = max(1, -(-shape[0] // rows))
    files = [path] if count == 1 else _names(path, count)
    for number, file in enumerate(files):
        with file.open("wb") as new:
            own = (min(rows, shape[0] - number * rows), *shape[1:])
            header = {"descr": dtype, "fortran_order": False, "shape": own}
            np.lib.format.write_array_header_1_0(new, header)
            offset = new.tell()
    writer = Writer(Parts(tuple(files), shape, np.dtype(dtype), rows, offset))
    try:
        yield writer
        assert not writer.left, f"{writer.left} bytes are missing"
    finally:
        writer.close()


def open_parts(path: Path) -> Parts | None:
    """What `write_parts` wrote as `path`; None where there is nothing.

    Raises:
        PartsError: a file is missing, was cut, or does not belong to the others.
    """
    files = files_of(path)
    if not files:
        return None
    shapes, first = [], _header(files[0])
    for file in files:
        mapped = _header(file)
        shapes.append(mapped.shape)
        if (mapped.shape[1:], mapped.dtype, mapped.offset) != (first.shape[1:], first.dtype, first.offset):
            raise PartsError(
                f"{file} has rows {mapped.shape[1:]} of {mapped.dtype}, and {files[0].name} has"
                f" {first.shape[1:]} of {first.dtype}: they are no parts of one array. {_mend(path)}"
            )
    counts = [shape[0] for shape in shapes]
    if len({*counts[:-1]}) > 1 or counts[-1] > counts[0]:
        raise PartsError(f"The parts of {path} have {counts} rows, and all but the last have as many. {_mend(path)}")
    return Parts(tuple(files), (sum(counts), *first.shape[1:]), first.dtype, max(1, counts[0]), first.offset)


def files_of(path: Path) -> list[Path]:
    """The files in which the array `path` is, in their order; none where there is nothing."""
    if path.exists():
        return [path]
    found = next(path.parent.glob(f"{glob.escape(path.stem)}-[0-9]*-of-[0-9]*.npy"), None)
    count = None if found is None else re.search(r"-of-(\d+)\.npy$", found.name)
    return _names(path, int(count[1])) if count else []


def _names(path: Path, count: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{number:05}-of-{count:05}.npy") for number in range(count)]


def _header(file: Path) -> "np.memmap[Any, Any]":
    try:
        mapped: np.memmap[Any, Any] = np.load(file, mmap_mode="r")
    except FileNotFoundError:
        raise PartsError(f"{file} is missing, one of the parts of an array. {_mend(file)}") from None
    except (ValueError, EOFError) as error:
        raise PartsError(f"{file} is no whole array: {error}. {_mend(file)}") from None
    return mapped


def _mend(path: Path) -> str:
    return f"Bring it back with `dvc checkout`, or remove the folder {path.parent} and run `dvc repro`."
