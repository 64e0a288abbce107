"""Datasets in few large files: tar shards and parquet, of this machine or at an address."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from meltpoint.data.download import Dataset, download_dataset
from meltpoint.data.fingerprint import Fingerprint, fingerprint_sources
from meltpoint.data.listing import SourceError
from meltpoint.images.decode import inspect
from meltpoint.images.mask_files import normalise
from meltpoint.params.data import Data
from meltpoint.shards import open_shards

RAW = Path("data/raw")
pytestmark = pytest.mark.usefixtures("workplace")


def picture(number: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes], mode: Any = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def samples(numbers: range) -> dict[str, bytes]:
    """Samples as WebDataset's writer leaves them."""
    files: dict[str, bytes] = {}
    for number in numbers:
        said = {"who": f"p{number // 2}", "tags": ["a", "b"][: number % 3], "box": {"x": 1}}
        files |= {f"{number:04}.cls": b"%d" % (number % 2), f"{number:04}.jpg": picture(number)}
        files |= {f"{number:04}.json": json.dumps(said).encode()}
    return files


def data(source: dict[str, Any], labels: dict[str, Any], group: str | None = None) -> Data:
    given = {"source": source, "labels": labels, "group": group, "max_bad": 0, "max_megapixels": 1}
    return Data.model_validate(given)


def shards(**changes: Any) -> dict[str, Any]:
    parts = {"train": "train-{000..001}.tar", "test": "test-*.tar"}
    return {"kind": "webdataset", "path": "photos", "shards": parts} | changes


def parquet(**changes: Any) -> dict[str, Any]:
    files = {"train": "data/train-*.parquet", "test": "data/test-*.parquet"}
    return {"kind": "parquet", "path": "pets", "files": files, "picture": "image"} | changes


CLS = {"y": {"kind": "names", "column": "cls"}}
TAGS = {"y": {"kind": "tags", "column": "tags", "separator": "|", "none": ""}}
LABEL = {"y": {"kind": "names", "column": "label"}}


def download(given: Data) -> Dataset:
    return download_dataset(given, RAW, Path("reports/data.json"), inspect, normalise)


def fingerprint(given: Data) -> Fingerprint:
    return fingerprint_sources(given, {}, {})


@pytest.fixture
def photos(workplace: Path) -> Path:
    write_tar(workplace / "photos/train-000.tar", samples(range(4)))
    write_tar(workplace / "photos/train-001.tar", samples(range(4, 6)))
    write_tar(workplace / "photos/test-000.tar", samples(range(6, 9)))
    return workplace / "photos"


@pytest.fixture
def pets(workplace: Path) -> Path:
    """As the Hugging Face Hub keeps a dataset of pictures."""
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {}}}}
    (workplace / "pets/data").mkdir(parents=True)
    for split, numbers in (("train", range(5)), ("test", range(5, 8))):
        rows = [
            {"image": {"bytes": picture(number), "path": f"{number}.jpg"}, "label": number % 3 - 1, "weight": 0.5}
            for number in numbers
        ]
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(names)})
        pq.write_table(table, workplace / f"pets/data/{split}-00000-of-00001.parquet", row_group_size=2)
    return workplace / "pets"


def stored(found: Dataset) -> dict[str, bytes]:
    held = open_shards(RAW)
    return {path: held.read(path) for path in found.samples["path"]}


def test_tar_shards_arrive_with_labels_and_groups(photos: Path) -> None:
    found = download(data(shards(), CLS, group="who"))
    paths = [f"test-000/{number:04}.jpg" for number in range(6, 9)]
    paths += [f"train-{number // 4:03}/{number:04}.jpg" for number in range(6)]
    assert stored(found) == {path: picture(int(Path(path).stem)) for path in paths}
    assert found.samples["y"].tolist() == [str(int(Path(path).stem) % 2) for path in paths]
    assert found.samples["group"].tolist() == [f"p{int(Path(path).stem) // 2}" for path in paths]
    assert found.samples["split"].tolist() == ["test"] * 3 + ["train"] * 6
    assert [path.name for path in Path("photos").iterdir()] == [path.name for path in photos.iterdir()]
    assert not list(Path(".checkpoints/download").glob("*"))


def test_lists_in_json_are_tags(photos: Path) -> None:
    found = download(data(shards(), TAGS))
    told = dict(zip(found.samples["path"], found.samples["y"], strict=True))
    assert told["train-000/0000.jpg"] == "|"
    assert told["train-000/0001.jpg"] == "|a|"
    assert told["train-000/0002.jpg"] == "|a|b|"


def test_parquet_arrives_with_the_names_of_its_classes(pets: Path) -> None:
    found = download(data(parquet(), LABEL))
    train = [f"data/train-00000-of-00001/{number:07}.jpg" for number in range(5)]
    assert [stored(found)[path] for path in train] == [picture(number) for number in range(5)]
    labels = found.samples.set_index("path")["y"]
    assert [None if pd.isna(labels[path]) else labels[path] for path in train] == [None, "cat", "dog", None, "cat"]
    assert found.samples["split"].value_counts().to_dict() == {"train": 5, "test": 3}


def test_parquet_may_name_files(workplace: Path) -> None:
    (workplace / "pets/images").mkdir(parents=True)
    for number in range(4):
        (workplace / f"pets/images/{number}.jpg").write_bytes(picture(number))
    frame = pd.DataFrame({"image": [f"images/{number}.jpg" for number in range(4)], "label": list("abab")})
    frame.to_parquet(workplace / "pets/all.parquet")
    found = download(data(parquet(files={"all": "all.parquet"}), LABEL))
    assert [content for _, content in sorted(stored(found).items())] == [picture(number) for number in range(4)]


@pytest.fixture
def address(photos: Path, pets: Path) -> Iterator[str]:
    """Both at an address; `memory://` is a file system of fsspec's own, as `s3://` is one of a package."""
    system = fsspec.filesystem("memory")
    for folder in (photos, pets):
        system.put(str(folder), f"/{folder.name}", recursive=True)
    yield "memory://"
    system.rm("/", recursive=True)


@pytest.mark.parametrize(("make", "labels"), [(shards, CLS), (parquet, LABEL)])
def test_an_address_gives_what_a_folder_gives(address: str, make: Any, labels: dict[str, Any]) -> None:
    here = download(data(make(), labels))
    files = stored(here)
    there = download(data(make(path=address + make()["path"]), labels))
    pd.testing.assert_frame_equal(there.samples, here.samples)
    assert stored(there) == files


@pytest.mark.parametrize("where", ["", "memory://"])
def test_a_shard_that_changes_is_seen(address: str, where: str) -> None:
    given = data(shards(path=f"{where}photos"), CLS)
    before = fingerprint(given)
    assert fingerprint(given) == before
    write_tar(Path("photos/train-001.tar"), samples(range(4, 7)))
    fsspec.filesystem("memory").put("photos/train-001.tar", "/photos/train-001.tar")
    assert fingerprint(given).parts["source"]["sha256"] != before.parts["source"]["sha256"]


def test_a_sample_of_several_pictures_needs_a_word(photos: Path) -> None:
    write_tar(photos / "train-001.tar", {"7.jpg": picture(7), "7.thumb.png": picture(1), "7.cls": b"1", "8.cls": b"0"})
    with pytest.raises(SourceError, match=r"data\.source\.picture"):
        download(data(shards(), CLS))
    found = download(data(shards(picture="jpg"), CLS))
    assert stored(found)["train-001/7.jpg"] == picture(7)
    assert [one["path"] for one in found.report["ignored"]] == ["train-001/8"]
