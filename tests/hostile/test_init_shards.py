"""Tar shards and parquet files that `meltpoint init` is asked about."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile.conftest import ROOT, Row, run_told
from init.test_shards import KINDS, cls, picture, write_parquet, write_tar

from meltpoint.cli import run
from meltpoint.forecast.speeds import read_speeds
from meltpoint.init import make

SECTION = "Shards that init looks at"
SHARD, TABLE = Path("pets/0.tar"), Path("pets/0.parquet")
PICTURES = [picture(number) for number in range(12)]


def tar(*files: bytes, suffix: str = "cls") -> None:
    """A tar of 12 pictures; their labels are these in turn."""
    write_tar(SHARD, range(12), lambda number: {suffix: files[number % len(files)]})


def parquet(**columns: list[Any]) -> None:
    SHARD.parent.mkdir()
    pq.write_table(pa.table({"image": PICTURES, **columns}), TABLE)


def numbered(labels: list[int]) -> None:
    write_parquet(TABLE, PICTURES, range(12))
    table = pq.read_table(TABLE)
    pq.write_table(table.set_column(1, "label", [labels]), TABLE)


def damaged(suffix: str) -> None:
    for name in ("0", "1"):
        path = Path(f"pets/{name}.{suffix}")
        if suffix == "tar":
            write_tar(path, range(12), cls)
        else:
            write_parquet(path, PICTURES, range(12))
    os.truncate(path, 5_000)


def other_columns() -> None:
    parquet(label=list("ab" * 6))
    pq.write_table(pq.read_table(TABLE).rename_columns(["photo", "label"]), "pets/1.parquet")


def alike() -> None:
    for name in ("train-a", "train-b", "b-training", "test"):
        write_tar(Path(f"pets/{name}.tar"), range(6), cls)


MAKERS: dict[str, Callable[[], object]] = {
    "in shards: the classes in columns of 0 and 1": lambda: tar(
        *(json.dumps({kind: int(kind == own) for kind in KINDS}).encode() for own in KINDS), suffix="json"
    ),
    "in shards: no label": parquet,
    "in shards: another text for each picture": lambda: tar(
        *(b"photo %d" % number for number in range(12)), suffix="txt"
    ),
    "in shards: names of classes that look alike": lambda: tar(b"cat", "cat\u200b".encode()),
    "in shards: a name of a class that steers the terminal": lambda: tar(b"a\x1b[31m", b"b"),
    "in shards: a number of a class without a name": lambda: numbered([-1, 7, *[0, 1] * 5]),
    "in shards: a label that is no UTF-8": lambda: tar(b"a", b"b", b"a", b"b", b"\xff\xfe"),
    "in shards: a picture that is none": lambda: parquet(
        image=[b"no", *map(picture, range(11))], label=list("ab" * 6)
    ),
    "in shards: parquet files of other columns": other_columns,
    "in shards: a damaged tar": lambda: damaged("tar"),
    "in shards: a damaged parquet file": lambda: damaged("parquet"),
    "in shards: names of splits that no pattern tells apart": alike,
}  # fmt: skip


def test_what_init_says_of_shards(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "measure_speeds", lambda *_: read_speeds())
    monkeypatch.chdir(tmp_path)
    Path("presets").symlink_to(ROOT / "presets")
    MAKERS[row.name]()
    code, said = run_told(lambda: run(["init", "pets"]))
    assert row.quotes
    assert all(quote in said for quote in row.quotes), said
    assert code == (1 if row.fate == "refused" else 0), said
    assert Path("params.yaml").exists() == (row.fate == "read")


def test_every_row_has_its_shards(every_row: list[Row]) -> None:
    assert [row.name for row in every_row if row.section == SECTION] == list(MAKERS)
