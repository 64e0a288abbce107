"""Tar shards and Parquet with pictures in it: recognised, described, and read by the download stage as written."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from meltpoint.data.download import download_dataset
from meltpoint.images.decode import inspect
from meltpoint.images.mask_files import normalise

Init = Callable[..., Any]
KINDS = ("cat", "dog", "emu")


def picture(number: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def write_tar(path: Path, numbers: range, label: Callable[[int], dict[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number in numbers:
            files = {"jpg": picture(number)} | label(number)
            for suffix, content in files.items():
                member = tarfile.TarInfo(f"{number:04}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def cls(number: int) -> dict[str, bytes]:
    return {"cls": b"%d" % (number % 3)}


def said(number: int) -> dict[str, bytes]:
    text = {
        "kind": KINDS[number % 3],
        "caption": f"photo {number}",
        "tags": ["a", "b", "c"][number % 3 : number % 4 + 1],
    }
    return {"json": json.dumps(text).encode()}


def write_parquet(path: Path, cells: list[Any], numbers: range, **more: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {"image": cells, "label": [number % 3 for number in numbers], **more}
    names = {"info": {"features": {"label": {"names": KINDS, "_type": "ClassLabel"}}}}
    table = pa.table(rows).replace_schema_metadata({"huggingface": json.dumps(names)})
    pq.write_table(table, path)


def downloaded(ran: Any) -> pd.DataFrame:
    """What the download stage makes of the params.yaml that was written."""
    found = download_dataset(ran.params.data, Path("data/raw"), Path("reports/data.json"), inspect, normalise)
    return found.samples


def test_tar_shards_by_the_names_of_their_splits(place: Path, init: Init) -> None:
    for split, start in (("train", 0), ("val", 12), ("test", 18)):
        write_tar(place / f"pets/{split}-000.tar", range(start, start + 6), cls)
    write_tar(place / "pets/train-001.tar", range(6, 12), cls)
    ran = init("pets")
    assert ran.raw["data"]["source"] == {
        "kind": "webdataset", "path": "pets",
        "shards": {"train": "train-*.tar", "val": "val-000.tar", "test": "test-000.tar"},
    }  # fmt: skip
    assert ran.raw["data"]["labels"] == {"cls": {"kind": "names", "column": "cls", "classes": None}}
    assert "pets: tar shards, as WebDataset writes them, 4 files, 24 images" in ran.out
    assert "all 64 x 48; JPEG" in ran.out
    assert "they are kept: train 12, val 6, test 6" in ran.out
    assert downloaded(ran)["cls"].value_counts().to_dict() == {"0": 8, "1": 8, "2": 8}


def test_tar_shards_in_folders_with_labels_in_json(place: Path, init: Init) -> None:
    for split, start in (("train", 0), ("test", 24)):
        for shard in range(2):
            write_tar(place / f"pets/{split}/{shard:05}.tar", range(start + 12 * shard, start + 12 * shard + 12), said)
    ran = init("pets", "--label", "kind")
    assert ran.raw["data"]["source"]["shards"] == {"train": "train/*.tar", "test": "test/*.tar"}
    assert list(ran.params.heads) == ["kind"]
    assert len(downloaded(ran)) == 48
    tags = init("pets", "--label", "tags")
    assert tags.raw["data"]["labels"] == {"tags": {"kind": "tags", "column": "tags", "separator": "|", "none": ""}}
    assert tags.params.task.kind == "tagging"


def test_one_shard_without_a_split(place: Path, init: Init) -> None:
    write_tar(place / "pets.tar", range(24), cls)
    ran = init("pets.tar")
    assert ran.raw["data"]["source"] == {"kind": "webdataset", "path": ".", "shards": {"all": "pets.tar"}}
    assert "the data bring no splits" in ran.out
    assert len(downloaded(ran)) == 24


@pytest.mark.parametrize("how", ["bytes", "pairs", "paths"])
def test_parquet_as_on_hugging_face(place: Path, init: Init, how: str) -> None:
    (place / "pets/photos").mkdir(parents=True)
    for number in range(24 if how == "paths" else 0):
        (place / f"pets/photos/{number}.jpg").write_bytes(picture(number))
    makers: dict[str, Callable[[int], Any]] = {
        "bytes": picture,
        "pairs": lambda number: {"bytes": picture(number), "path": f"{number}.jpg"},
        "paths": lambda number: f"photos/{number}.jpg",
    }
    for name, numbers in (
        ("train-00000-of-00002", range(8)),
        ("train-00001-of-00002", range(8, 16)),
        ("test-00000-of-00001", range(16, 24)),
    ):
        cells = [makers[how](number) for number in numbers]
        write_parquet(place / f"pets/data/{name}.parquet", cells, numbers, caption=[f"photo {n}" for n in numbers])
    ran = init("pets")
    assert ran.raw["data"]["source"] == {
        "kind": "parquet", "path": "pets", "picture": "image",
        "files": {"train": "data/train-*.parquet", "test": "data/test-00000-of-00001.parquet"},
    }  # fmt: skip
    assert ran.raw["data"]["labels"] == {"label": {"kind": "names", "column": "label", "classes": None}}
    assert "cat 8, dog 8, emu 8" in ran.out
    samples = downloaded(ran)
    assert samples["split"].value_counts().to_dict() == {"train": 16, "test": 8}


def test_a_tar_without_samples_is_an_archive(place: Path, init: Init) -> None:
    with tarfile.open(place / "photos.tar", "w") as tar:
        for number in range(12):
            member = tarfile.TarInfo(f"{KINDS[number % 2]}/{number}.jpg")
            content = picture(number)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert init("photos.tar").raw["data"]["source"]["kind"] == "archive"
