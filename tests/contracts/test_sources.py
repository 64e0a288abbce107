"""What every file in data/sources promises; a new kind needs one example here."""

import hashlib
import inspect
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import pandas as pd
import pytest
from pydantic import TypeAdapter

import meltpoint.data.sources
from meltpoint.data.listing import Listing, SourceError, plain_path
from meltpoint.data.origins import parse_origin
from meltpoint.data.read_source import read_source
from meltpoint.errors import UserError
from meltpoint.params import sources as params
from meltpoint.tables import SPLITS

FILES = Path(str(meltpoint.data.sources.__file__)).parent.glob("*.py")
KINDS = sorted(file.stem for file in FILES if file.stem != "__init__")
COLUMNS = {"separator": None, "header": None, "path": "file", "split": "part"}

Example = tuple[dict[str, Any], dict[str, Any]]  # a source that can be read, and what makes it one that cannot


def folder_example(place: Path) -> Example:
    for path in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"):
        (place / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "photos" / path).write_bytes(path.encode())
    return {"path": "photos"}, {"path": "fotos"}


def csv_example(place: Path) -> Example:
    folder_example(place)
    (place / "labels.csv").write_text("file,part,class\ntrain/cat/1.png,train,cat\ntest/cat/3.png,test,cat\n")
    return {"table": "labels.csv", "images": "photos", **COLUMNS}, {"table": "nothing.csv"}


def package_example(place: Path) -> Example:
    csv_example(place)
    return {"package": "photos_package", "table": "labels.csv", "images": "photos", **COLUMNS}, {"package": "nothing"}


def archive_example(place: Path) -> Example:
    folder_example(place)
    with zipfile.ZipFile(place / "photos.zip", "w") as archive:
        for file in sorted((place / "photos").rglob("*.png")):
            archive.write(file, file.relative_to(place))
    sha256 = hashlib.sha256((place / "photos.zip").read_bytes()).hexdigest()
    limits = {"sha256": sha256, "max_members": 100, "max_gigabytes": 0.1}
    return {"location": "photos.zip", "inside": {"kind": "folder", "path": "photos"}, **limits}, {"location": "no.zip"}


def yoga82_example(place: Path) -> Example:
    folder_example(place)
    (place / "train.txt").write_text("train/cat/1.png,0,0,0\ntrain/dog/2.png,0,0,1\n")
    (place / "test.txt").write_text("test/cat/3.png,0,0,0\n")
    (place / "classes.txt").write_text("0 cat\n1 dog\n")
    lists = {"train": "train.txt", "test": "test.txt", "classes": "classes.txt", "images": "photos"}
    return lists, {"classes": "class.txt"}


def masks_example(place: Path) -> Example:
    for path in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"):
        for kind in ("photos", "masks"):
            (place / "scene" / kind / path).parent.mkdir(parents=True, exist_ok=True)
            (place / "scene" / kind / path).write_bytes(f"{kind}/{path}".encode())
    parts = {kind: {split: f"{kind}/{split}" for split in ("train", "test")} for kind in ("photos", "masks")}
    rest = {"images": parts["photos"], "masks": parts["masks"], "lists": None, "mask_name": "{stem}.png"}
    return {"path": "scene", **rest}, {"path": "scenery"}


def coco_example(place: Path) -> Example:
    folder_example(place)
    categories = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]
    for split, names in {"train": ["cat/1.png", "dog/2.png"], "test": ["cat/3.png"]}.items():
        images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
        marks = [{"image_id": number, "category_id": 7 if "cat" in name else 9} for number, name in enumerate(names)]
        content = {"images": images, "annotations": marks * 2, "categories": categories}
        (place / f"{split}.json").write_text(json.dumps(content))
    named = {split: split for split in ("train", "test")}
    annotations = {split: f"../{split}.json" for split in named}
    return {"path": "photos", "images": named, "annotations": annotations}, {"path": "fotos"}


def webdataset_example(place: Path) -> Example:
    for name in ("train/cat/1", "train/dog/2", "test/cat/3"):
        shard, _, stem = name.rpartition("/")
        (place / "shards" / shard).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(place / "shards" / f"{shard}.tar", "w") as tar:
            for suffix, content in {"png": f"{name}.png", "cls": Path(shard).name}.items():
                member = tarfile.TarInfo(f"{stem}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
    return {"path": "shards", "shards": {"train": "train/*.tar", "test": "test/cat.tar"}}, {"path": "shreds"}


def parquet_example(place: Path) -> Example:
    for split, label in (("train", "cat"), ("train", "dog"), ("test", "cat")):
        (place / "tables" / split).mkdir(parents=True, exist_ok=True)
        content = f"{split}/{label}/0000000.png".encode()
        frame = pd.DataFrame({"image": [{"bytes": content, "path": "a.png"}], "class": [label]})
        frame.to_parquet(place / "tables" / split / f"{label}.parquet")
    files = {split: f"{split}/*.parquet" for split in ("train", "test")}
    return {"path": "tables", "files": files, "picture": "image"}, {"picture": "photo"}


@pytest.fixture
def example(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    examples: dict[str, Callable[[Path], Example]] = {
        "archive": archive_example,
        "coco": coco_example,
        "csv": csv_example,
        "folder": folder_example,
        "masks": masks_example,
        "package": package_example,
        "parquet": parquet_example,
        "webdataset": webdataset_example,
        "yoga82": yoga82_example,
    }
    assert kind in examples, f"give data/sources/{kind}.py an example here"
    place = tmp_path / "photos_package"
    place.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(place)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    good, bad = examples[kind](place)
    return {"kind": kind, **good}, bad


def parsed(source: dict[str, Any]) -> params.Source:
    adapter: TypeAdapter[params.Source] = TypeAdapter(params.Source)
    return adapter.validate_python(source)


def test_every_kind_in_params_is_a_file_and_the_other_way_round() -> None:
    classes = get_args(get_args(params.Source)[0])
    assert sorted(get_args(one.model_fields["kind"].annotation)[0] for one in classes) == KINDS


@pytest.mark.parametrize("kind", KINDS)
class TestSource:
    def test_reads_a_source_and_a_scratch_folder(self, kind: str) -> None:
        module = import_module(f"meltpoint.data.sources.{kind}")
        assert list(inspect.signature(module.read).parameters) == ["source", "work"]
        assert module.__doc__
        assert module.read.__doc__

    def test_lists_files_as_promised(self, kind: str, example: Example, tmp_path: Path) -> None:
        listing = read_source(parsed(example[0]), tmp_path / "work")
        files, columns = listing.files, listing.columns
        assert isinstance(listing, Listing)
        assert list(files.columns) == ["path", "origin", "split"]
        assert len(files) == len(columns) > 0
        assert all(dtype == "string" for dtype in [*files.dtypes, *columns.dtypes])
        assert files["path"].map(plain_path).tolist() == files["path"].tolist()
        assert set(files["split"].dropna()) == {"train", "test"} <= set(SPLITS)
        labels = columns[{"yoga82": "l82", "masks": "mask", "coco": "tags", "webdataset": "cls"}.get(kind, "class")]
        shown = labels.map(lambda cell: PurePosixPath(cell).parent.name) if kind == "masks" else labels
        assert shown.tolist() == [PurePosixPath(path).parent.name for path in files["path"]]
        for path, origin in zip(files["path"], files["origin"], strict=True):
            assert parse_origin(origin).path.is_absolute()
            assert parse_origin(origin).read() == path.encode()
        assert str(tmp_path) not in listing.title

    def test_lists_the_same_again(self, kind: str, example: Example, tmp_path: Path) -> None:
        first, second = (read_source(parsed(example[0]), tmp_path / "work") for _ in range(2))
        pd.testing.assert_frame_equal(first.files, second.files)
        pd.testing.assert_frame_equal(first.columns, second.columns)

    def test_writes_nowhere_but_in_its_scratch_folder(self, kind: str, example: Example, tmp_path: Path) -> None:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        read_source(parsed(example[0]), tmp_path / "work")
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert {path: data for path, data in after.items() if not path.is_relative_to(tmp_path / "work")} == before

    def test_reads_from_a_throw_away_copy(
        self, kind: str, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "copy").mkdir()
        monkeypatch.setenv("DVC_ROOT", str(Path.cwd()))
        monkeypatch.chdir(tmp_path / "copy")
        assert len(read_source(parsed(example[0]), tmp_path / "copy/work").files) > 0

    def test_tells_the_user_what_is_not_there(self, kind: str, example: Example, tmp_path: Path) -> None:
        with pytest.raises(SourceError) as caught:
            read_source(parsed({**example[0], **example[1]}), tmp_path / "work")
        assert isinstance(caught.value, UserError)
        assert str(next(iter(example[1].values()))) in str(caught.value)
