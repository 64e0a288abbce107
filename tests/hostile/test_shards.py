"""Tar shards and parquet files, through the stage `download`."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SECTION = "Shards"
Source = dict[str, Any]


def picture(number: int) -> bytes:
    return (Path("photos") / ("cat" if number % 2 else "dog") / f"{number}.png").read_bytes()


def samples() -> dict[str, bytes]:
    files = {f"{number}.png": picture(number) for number in range(6)}
    return files | {f"{number}.cls": b"ab"[number % 2 :][:1] for number in range(6)}


def tar(files: Mapping[str, bytes], mode: Any = "w", links: Mapping[str, str] | None = None) -> Source:
    with tarfile.open("0.tar", mode) as shard:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            shard.addfile(member)
    return tars()


def tars(**changes: Any) -> Source:
    return {"kind": "webdataset", "path": ".", "shards": {"all": "*.tar"}} | changes


def parquet(**changes: Any) -> Source:
    rows = [{"image": picture(number), "cls": "ab"[number % 2], "weight": 0.5} for number in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), "0.parquet")
    return {"kind": "parquet", "path": ".", "files": {"all": "*.parquet"}, "picture": "image"} | changes


def cut(source: Source, name: str, length: int) -> Source:
    os.truncate(name, length)
    return source


def first_member() -> int:
    """Bytes of the first picture in a tar with its header: whole blocks."""
    return 512 + -(-len(picture(0)) // 512) * 512


MAKERS: dict[str, Callable[[], Source]] = {
    "samples of a picture and a label": lambda: tar(samples()),
    "a name without a shard": lambda: tars(path="photos"),
    "a folder that is not there": lambda: tars(path="photo"),
    "a row of shards with a gap": lambda: (tar(samples()), tars(shards={"all": "{0..3}.tar"}))[1],
    "a row of shards that runs back": lambda: tars(shards={"all": "{3..0}.tar"}),
    "a name that climbs": lambda: tars(shards={"all": "../*.tar"}),
    "a shard of two splits": lambda: (tar(samples()), tars(shards={"train": "*.tar", "test": "0.tar"}))[1],
    "all beside a split": lambda: tars(shards={"all": "*.tar", "test": "0.tar"}),
    "an address that nothing reads": lambda: tars(path="nothing://photos"),
    "a tar that is packed": lambda: tar(samples(), "w:gz"),
    "a tar that ends too early": lambda: cut(tar(samples()), "0.tar", 700),
    "a tar that ends between two samples": lambda: cut(tar(samples()), "0.tar", first_member()),
    "an empty tar": lambda: cut(tar(samples()), "0.tar", 0),
    "a picture in a tar that is none": lambda: tar(samples() | {"7.png": b"no picture", "7.cls": b"a"}),
    "a link in a tar": lambda: tar(samples(), links={"7.png": "/etc/passwd"}),
    "a sample of two pictures": lambda: tar(samples() | {"0.jpg": picture(0)}),
    "a sample without a picture": lambda: tar(samples() | {"7.cls": b"a"}),
    "a label in a tar that is no UTF-8": lambda: tar(samples() | {"7.cls": b"\xff\xfe"}),
    "JSON in a tar that is none": lambda: tar(samples() | {"7.json": b"{"}),
    "JSON in a tar that nests too deep": lambda: tar(samples() | {"7.json": b"[" * 100_000}),
    "JSON in a tar with the value NaN": lambda: tar(samples() | {"0.json": json.dumps({"who": float("nan")}).encode()}),
    "a parquet file": parquet,
    "a parquet file that ends too early": lambda: cut(parquet(), "0.parquet", 700),
    "a parquet file of zero bytes": lambda: cut(parquet(), "0.parquet", 0),
    "a column of pictures that is not there": lambda: parquet(picture="img"),
    "a column of pictures that holds numbers": lambda: parquet(picture="weight"),
    "a column of paths that climb": lambda: (
        pq.write_table(pa.table({"image": ["../secret.png"] * 6, "cls": list("ababab")}), "0.parquet"),
        {"kind": "parquet", "path": ".", "files": {"all": "*.parquet"}, "picture": "image"},
    )[1],
}


def test_shards(row: Any, workplace: Any) -> None:
    workplace.params["data"]["source"] = MAKERS[row.name]()
    workplace.params["data"]["labels"] = {"y": {"kind": "names", "column": "cls", "classes": None}}
    code, said = workplace.stage("download")
    found = said + (Path("reports/data.json").read_text() if row.fate == "skipped" else "")
    assert all(quote in found for quote in row.quotes), said
    assert code == (1 if row.fate == "refused" else 0), said


def test_every_row_has_its_source(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
