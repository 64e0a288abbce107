"""Each change of a source that `download` would read changes the fingerprint, and nothing else does."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meltpoint.data.fingerprint import Fingerprint
from meltpoint.data.fingerprint import fingerprint_sources as look
from meltpoint.data.listing import SourceError
from meltpoint.params.data import Data
from meltpoint.params.model import FileWeights, PackageWeights, RandomWeights, Weights

BY_CLASS = {"y": {"kind": "names", "column": "class", "classes": None}}
TABLE = {"table": "t.csv", "separator": None, "header": None, "path": "path", "split": None}
SOURCES: dict[str, dict[str, Any]] = {
    "folder": {"kind": "folder", "path": "set"},
    "csv": {"kind": "csv", "images": "set", **TABLE},
    "csv here": {"kind": "csv", "images": ".", **TABLE, "table": "here.csv"},
    "package": {"kind": "package", "package": "some_set", "images": "set", **TABLE},
    "yoga82": {"kind": "yoga82", "train": "train.txt", "test": "test.txt", "classes": None, "images": "set"},
    "masks": {
        "kind": "masks", "path": ".", "images": {"all": "set"}, "masks": {"all": "masks"}, "lists": None,
        "mask_name": "{stem}.png",
    },
}  # fmt: skip


def data(source: dict[str, Any], **changes: Any) -> Data:
    given = {"source": source, "labels": BY_CLASS, "names": {}, "group": None, "max_bad": 0, "max_megapixels": 1}
    return Data.model_validate(given | changes)


def fingerprint(data: Data, weights: Weights | None = None) -> Fingerprint:
    return look(data, {"net": weights or RandomWeights(kind="random")}, {"net": ["final"]})


def taken(source: dict[str, Any]) -> str:
    sha256: str = fingerprint(data(source)).parts["source"]["sha256"]
    return sha256


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("set/cat/1.png", "set/dog/2.png", "masks/cat/1.png", "masks/dog/2.png", "data/raw/1.png"):
        (workplace / name).parent.mkdir(parents=True, exist_ok=True)
        (workplace / name).write_bytes(b"x")
    (workplace / "t.csv").write_text("path,class\ncat/1.png,cat\ndog/2.png,dog\ndog/3.png,dog\n")
    (workplace / "here.csv").write_text("path,class\nset/cat/1.png,cat\nset/dog/2.png,dog\nset/dog/3.png,dog\n")
    (workplace / "train.txt").write_text("cat/1.png,0,0,0\n")
    (workplace / "test.txt").write_text("dog/2.png,1,1,1\ndog/3.png,1,1,1\n")
    (workplace / "some_set").mkdir()
    (workplace / "some_set" / "__init__.py").touch()
    (workplace / "some_set" / "set").symlink_to(workplace / "set")
    shutil.copy(workplace / "t.csv", workplace / "some_set")
    monkeypatch.syspath_prepend(workplace)
    return workplace


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("set/dog/3.png").write_bytes(b"new"),
        lambda: Path("set/dog/2.png").unlink(),
        lambda: Path("set/dog/2.png").write_bytes(b"longer"),
        lambda: os.utime("set/dog/2.png", ns=(5, 5)),
    ],
    ids=["added", "removed", "replaced", "touched"],
)
def test_a_picture_that_changes_changes_it(kind: str, change: Callable[[], Any], place: Path) -> None:
    before = taken(SOURCES[kind])
    assert taken(SOURCES[kind]) == before
    change()
    assert taken(SOURCES[kind]) != before


@pytest.mark.parametrize(
    ("kind", "path"),
    [("csv", "t.csv"), ("package", "some_set/t.csv"), ("yoga82", "test.txt"), ("masks", "masks/dog/2.png")],
)
def test_so_do_tables_lists_and_masks(kind: str, path: str, place: Path) -> None:
    before = taken(SOURCES[kind])
    (place / path).write_text((place / path).read_text() + "\n")
    assert taken(SOURCES[kind]) != before


def test_an_archive_is_looked_at_from_outside_and_an_address_not_at_all(place: Path) -> None:
    facts = {"sha256": "0" * 64, "max_members": 9, "max_gigabytes": 1, "inside": {"kind": "folder", "path": "."}}
    Path("set.zip").write_bytes(b"one")
    local = {"kind": "archive", "location": "set.zip", **facts}
    before = taken(local)
    Path("set.zip").write_bytes(b"other")
    assert taken(local) != before
    assert fingerprint(data({**local, "location": "https://example.org/a.zip"})).parts["source"]["files"] == 0


def test_what_stages_make_and_hidden_files_do_not_count(place: Path) -> None:
    here = {"kind": "folder", "path": "."}
    before = taken(here)
    for name in ("data/raw/2.png", "models/m", "reports/r", ".dvc/tmp/x", "set/cat/.DS_Store"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"y")
    assert taken(here) == before
    inside = {"kind": "folder", "path": "data"}
    before = taken(inside)
    (place / "data/raw/3.png").write_bytes(b"y")
    assert taken(inside) != before, "a source may lie where stages write"


def test_links_are_followed_but_not_in_circles(place: Path) -> None:
    (place / "store").mkdir()
    (place / "store/1.png").write_bytes(b"x")
    (place / "set/bird").symlink_to(place / "store")
    (place / "set/dog/again").symlink_to(place / "set")
    before = fingerprint(data(SOURCES["folder"]))
    assert before.parts["source"]["files"] == 3
    (place / "store/2.png").write_bytes(b"x")
    assert fingerprint(data(SOURCES["folder"])).parts["source"]["files"] == 4


def test_tables_of_names_count(place: Path) -> None:
    Path("names.csv").write_text("class,en\ncat,Cat\n")
    table = {"package": None, "table": "names.csv", "separator": None, "header": None, "key": "class"}
    named = data(SOURCES["folder"], names={"y": {**table, "languages": {"en": "en"}}})
    before = fingerprint(named)
    assert set(before.parts) == {"source", "names.y"}
    Path("names.csv").write_text("class,en\ncat,Kitten\n")
    assert fingerprint(named) != before
    assert fingerprint(named).sentence == "3 files looked at"


def test_so_do_those_of_a_package(place: Path) -> None:
    (place / "some_set" / "names.csv").write_text("class,en\ncat,Cat\n")
    table = {"package": "some_set", "table": "names.csv", "separator": None, "header": None, "key": "class"}
    named = data(SOURCES["folder"], names={"y": {**table, "languages": {"en": "en"}}})
    before = fingerprint(named)
    assert set(before.parts) == {"source", "names.y"}
    (place / "some_set" / "names.csv").write_text("class,en\ncat,Kitten\n")
    assert fingerprint(named).parts["names.y"] != before.parts["names.y"]


WEIGHTS: list[tuple[Weights, str]] = [
    (FileWeights(kind="file", path="w.pth", match="name", licence="mine"), "w.pth"),
    (PackageWeights(kind="package", package="some_set", file="w.pth", match="name", licence="mine"), "some_set/w.pth"),
]


@pytest.mark.parametrize(("weights", "path"), WEIGHTS, ids=["file", "package"])
def test_weights_count_by_their_content_and_apart_from_the_source(weights: Weights, path: str, place: Path) -> None:
    absent = fingerprint(data(SOURCES["folder"]), weights)
    (place / path).write_bytes(b"one")
    before = fingerprint(data(SOURCES["folder"]), weights)
    assert absent.encoders != before.encoders
    os.utime(place / path, ns=(5, 5))
    assert fingerprint(data(SOURCES["folder"]), weights) == before
    (place / path).write_bytes(b"two")
    after = fingerprint(data(SOURCES["folder"]), weights)
    assert after.encoders != before.encoders
    assert after.parts == before.parts


def test_files_of_queries_count_by_their_content_for_every_encoder(place: Path) -> None:
    def looked() -> Any:
        weights = {name: RandomWeights(kind="random") for name in ("net", "other")}
        return look(data(SOURCES["folder"]), weights, {name: ["final"] for name in weights}, ["vectors.npy"]).encoders

    absent = looked()
    (place / "vectors.npy").write_bytes(b"one")
    before = looked()
    (place / "vectors.npy").write_bytes(b"two")
    for name in ("net", "other"):
        assert absent[name] != before[name] != looked()[name]
    assert "queries" not in fingerprint(data(SOURCES["folder"])).encoders["net"]


def test_weights_of_a_package_that_is_not_there_are_for_embed_to_tell(place: Path) -> None:
    weights = PackageWeights(kind="package", package="no_such_set", file="w.pth", match="name", licence="mine")
    assert fingerprint(data(SOURCES["folder"]), weights).encoders["net"]["weights"]["files"] == 0


def test_a_source_that_is_not_there_is_told(place: Path) -> None:
    with pytest.raises(SourceError, match=r"no 'sets'.*Did you mean 'set'"):
        fingerprint(data({"kind": "folder", "path": "sets"}))
