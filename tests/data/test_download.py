import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meltpoint.bit_depth import Inspected
from meltpoint.data.download import download_dataset
from meltpoint.data.image_check import LARGE, DatasetError, Inspect
from meltpoint.data.labels import LabelError
from meltpoint.data.listing import SourceError
from meltpoint.images import decode
from meltpoint.images.mask_files import normalise
from meltpoint.params.data import Data
from meltpoint.shards import open_shards
from meltpoint.tables import check_samples

Draw = Callable[..., Path]
RAW, REPORT = Path("data/raw"), Path("reports/data.json")
BY_CLASS = {"y": {"kind": "names", "column": "class", "classes": None}}
pytestmark = pytest.mark.usefixtures("workplace")
BY_COLUMN = {"y": {"kind": "names", "column": "y", "classes": None}}


def folder(max_bad: int = 0) -> Data:
    return data({"kind": "folder", "path": "photos"}, BY_CLASS, max_bad=max_bad)


def table(text: str, labels: dict[str, Any] = BY_COLUMN, **changes: Any) -> Data:
    Path("labels.csv").write_text(text, encoding="utf-8")
    split = "split" if "split" in text else None
    source = {"table": "labels.csv", "images": "photos", "separator": None, "header": None, "path": "path"}
    return data({"kind": "csv", **source, "split": split}, labels, **changes)


def data(source: dict[str, Any], labels: dict[str, Any], **changes: Any) -> Data:
    given = {"source": source, "labels": labels, "names": {}, "group": None, "max_bad": 0, "max_megapixels": 1}
    return Data.model_validate(given | changes)


def report() -> dict[str, Any]:
    met: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
    return met


@pytest.fixture
def photos(workplace: Path, draw: Draw) -> Path:
    for number, name in enumerate(("dog/c.png", "cat/b.png", "cat/a.png")):
        draw(workplace / "photos" / name, number)
    return workplace / "photos"


def test_a_dataset_is_copied_measured_and_reported(photos: Path, inspect: Inspect) -> None:
    collected = download_dataset(folder(), RAW, REPORT, inspect, normalise)
    samples = collected.samples
    assert samples["path"].tolist() == ["cat/a.png", "cat/b.png", "dog/c.png"]
    assert samples["id"].tolist() == [0, 1, 2]
    assert samples["y"].tolist() == ["cat", "cat", "dog"]
    assert collected.classes == {"y": ["cat", "dog"]}
    assert set(zip(samples["width"], samples["height"], strict=True)) == {(6, 4)}
    for path, sha256 in zip(samples["path"], samples["sha256"], strict=True):
        assert open_shards(RAW).read(path) == (photos / path).read_bytes()
        assert hashlib.sha256((photos / path).read_bytes()).hexdigest() == sha256
    pd.testing.assert_frame_equal(samples, check_samples(samples, collected.classes))
    assert report() == collected.report
    assert report()["images"] == 3
    assert report()["labels"] == {"y": {"cat": 2, "dog": 1}}
    assert report()["bytes"] == sum(path.stat().st_size for path in photos.rglob("*.png"))
    assert report()["source"] == "folder photos"
    assert collected.sentence == "3 images from folder photos, y (cat 2 dog 1), 0 unusable"


def test_the_same_source_gives_the_same_manifest_in_any_order(photos: Path, inspect: Inspect) -> None:
    rows = ["dog/c.png,d", "cat/a.png,c", "cat/b.png,c"]
    first = download_dataset(table("\n".join(["path,y", *rows])), RAW, REPORT, inspect, normalise)
    second = download_dataset(table("\n".join(["path,y", *reversed(rows)])), RAW, REPORT, inspect, normalise)
    pd.testing.assert_frame_equal(first.samples, second.samples)
    assert first.report == second.report


def test_splits_groups_and_missing_labels_arrive(photos: Path, inspect: Inspect) -> None:
    text = "path,y,split,patient\ncat/a.png,c,train,007\ncat/b.png,,valid,007\ndog/c.png,d,test,\n"
    samples = download_dataset(table(text, group="patient"), RAW, REPORT, inspect, normalise).samples
    assert samples["split"].tolist() == ["train", "val", "test"]
    assert samples["group"].fillna("-").tolist() == ["007", "007", "-"]
    assert samples["y"].fillna("-").tolist() == ["c", "-", "d"]
    assert report()["unlabelled"] == {"y": 1}
    assert report()["splits"] == {"train": 1, "val": 1, "test": 1}
    assert report()["groups"] == 1


def test_rows_without_a_label_are_said(
    photos: Path, inspect: Inspect, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(photos / "cat/d.png", 7)
    text = "path,y,who\ncat/a.png,nan,NaN\ncat/b.png,c,nan\ndog/c.png,d,w\ncat/d.png,,w\n"
    collected = download_dataset(table(text, group="who"), RAW, REPORT, inspect, normalise)
    assert collected.sentence == "4 images from csv labels.csv, y (c 1 d 1), 0 unusable, 2 without y"
    assert "1 rows of 'y' hold a word for a missing cell, and have no 'y': {'nan': 1}" in capsys.readouterr().out
    assert collected.samples["group"].fillna("-").tolist() == ["-", "-", "w", "w"]


def test_folders_that_hold_equal_folders_are_no_classes_unless_listed(
    workplace: Path, draw: Draw, inspect: Inspect
) -> None:
    for number in range(8):
        draw(workplace / f"photos/{'ab'[number % 2]}/{'cd'[number // 2 % 2]}/{number}.png", number)
    with pytest.raises(SourceError, match=r"hold only folders with mostly equal names: \['c', 'd'\]"):
        download_dataset(folder(), RAW, REPORT, inspect, normalise)
    listed = {"y": {"kind": "names", "column": "class", "classes": ["a", "b"]}}
    collected = download_dataset(data({"kind": "folder", "path": "photos"}, listed), RAW, REPORT, inspect, normalise)
    assert collected.report["labels"] == {"y": {"a": 4, "b": 4}}


def spoil(photos: Path) -> dict[str, str]:
    whole = photos / "noise.png"
    Image.effect_noise((80, 80), 50).save(whole)
    (photos / "cat/cut.png").write_bytes(whole.read_bytes()[:2000])
    whole.unlink()
    (photos / "cat/zero.png").touch()
    (photos / "dog/text.jpg").write_text("no image")
    (photos / "dog/gone.png").symlink_to("nowhere")
    return {
        "cat/cut.png": "not an image",
        "cat/zero.png": "not an image",
        "dog/gone.png": "no such file",
        "dog/text.jpg": "not an image",
    }


def test_too_many_unusable_images_fail_and_all_are_listed(photos: Path, inspect: Inspect, draw: Draw) -> None:
    reasons = spoil(photos)
    draw(photos / "dog/d.png", 9)
    with pytest.raises(DatasetError, match=r"4 of 8 images .* allows 3:\n  cat/cut.png: not an image\n") as caught:
        download_dataset(folder(max_bad=3), RAW, REPORT, inspect, normalise)
    assert "set data.max_bad to 4" in str(caught.value)
    assert {bad["path"]: bad["reason"] for bad in report()["unusable"]} == reasons
    assert report()["bad_allowed"] == 3
    assert list(Path("data").iterdir()) == []


def test_tolerated_unusable_images_are_listed_and_left_out(photos: Path, inspect: Inspect) -> None:
    reasons = spoil(photos)
    collected = download_dataset(folder(max_bad=4), RAW, REPORT, inspect, normalise)
    assert {bad["path"]: bad["reason"] for bad in collected.report["unusable"]} == reasons
    assert len(collected.samples) == 3
    assert list(open_shards(RAW).places) == ["cat/a.png", "cat/b.png", "dog/c.png"]
    assert collected.sentence.endswith("4 unusable")


def test_no_file_at_all_says_where_it_was_looked_for(photos: Path, inspect: Inspect) -> None:
    text = "path,y\n" + "".join(f"wrong/{n}.png,{n % 2}\n" for n in range(14))
    with pytest.raises(DatasetError, match=r"and 4 more\nNone exists; .*photos/wrong/0.png"):
        download_dataset(table(text), RAW, REPORT, inspect, normalise)
    assert {bad["reason"] for bad in report()["unusable"]} == {"no such file"}


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (["cat/a", "cat/b", "dog/c"], "cat/a.png. The table holds names without a suffix: add it."),
        (["cat/a", "cat/b", "dog/c.png"], "cat/a.png. The table holds names without a suffix: add it."),
        (["cat/a.jpg", "cat/b.jpg", "dog/c.jpg"], "cat/a.png"),
        (["cats/a.png", "cats/b.png", "dogs/c.png"], "photos/cat/a.png"),
        (["cats/a.jpg", "cat/b.png", "dogs/c.jpg"], "photos/cat/a.png"),
        (["cat/A1.png", "cat/B1.png", "dog/C1.png"], "cat/a.png"),
    ],
)
def test_the_nearest_that_is_there_is_named_and_max_bad_is_not(
    photos: Path, inspect: Inspect, column: list[str], told: str
) -> None:
    text = "path,y\n" + "".join(f"{cell},{cell[0]}\n" for cell in column)
    with pytest.raises(DatasetError) as caught:
        download_dataset(table(text), RAW, REPORT, inspect, normalise)
    assert f"The nearest that is there is {photos / told.removeprefix('photos/')}" in str(caught.value)
    assert "max_bad to" not in str(caught.value)


@pytest.mark.parametrize("start", ["photos/", "old/photos/", "./"])
def test_the_end_of_a_path_that_is_there_is_named(photos: Path, inspect: Inspect, start: str) -> None:
    text = "path,y\n" + "".join(f"{start}x/{cell},{cell[0]}\n" for cell in ("cat/a.png", "cat/b.png", "dog/c.png"))
    start = start.removeprefix("./")
    with pytest.raises(DatasetError, match=f"'cat/a.png' is there: remove '{start}x/' from the paths in the table"):
        download_dataset(table(text), RAW, REPORT, inspect, normalise)


def test_a_few_that_are_missing_may_be_tolerated(photos: Path, inspect: Inspect) -> None:
    with pytest.raises(
        DatasetError, match=r"(?s)cat/a does not exist\. The nearest .*cat/a\.png.* set data.max_bad to 1"
    ):
        download_dataset(table("path,y\ncat/a,c\ncat/b.png,c\ndog/c.png,d\n"), RAW, REPORT, inspect, normalise)


def test_absolute_paths_below_the_folder_are_taken(photos: Path, inspect: Inspect) -> None:
    (photos.parent / "link").symlink_to(photos)
    lines = [f"{photos}/cat/a.png,c", f"file://{photos}/./cat//b.png,c", "dog/c.png,d"]
    collected = download_dataset(table("\n".join(["path,y", *lines])), RAW, REPORT, inspect, normalise)
    assert collected.samples["path"].tolist() == ["cat/a.png", "cat/b.png", "dog/c.png"]
    given = table("\n".join(["path,y", *lines]))
    linked = given.model_copy(update={"source": given.source.model_copy(update={"images": "link"})})
    assert download_dataset(linked, RAW, REPORT, inspect, normalise).samples.equals(collected.samples)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("/home/ann/set/cat/a.png", r"is absolute; .*'cat/a\.png' is there: remove '/home/ann/set/' from the paths"),
        (r"D:\set\cat\a.png", r"has a drive letter; .*'cat/a\.png' is there: remove 'D:/set/' from the paths"),
        ("../photos/cat/a.png", r"leaves its folder; .*'cat/a\.png' is there: remove '../photos/' from"),
        ("/elsewhere/q.png", r"is absolute; .*Set data.source.images to the folder that all paths start at"),
        ("https://example.org/a.png", r"1 of 2 paths .* addresses, .*'https://example.org/a.png'.*fetch-urls LISTS"),
        ("S3://bucket/a.png", r"1 of 2 paths .* addresses"),
    ],
)
def test_other_paths_are_told_with_what_is_there(photos: Path, inspect: Inspect, cell: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        download_dataset(table(f"path,y\ncat/b.png,d\n{cell},c\n"), RAW, REPORT, inspect, normalise)


def test_the_depth_that_is_used_is_one_for_the_dataset_and_said(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, most in (("cat/a.png", 900), ("dog/c.png", 4000)):
        Image.fromarray(np.array([[0, most]], dtype=np.uint16)).save(photos / name)
    collected = download_dataset(folder(), RAW, REPORT, decode.inspect, normalise)
    assert collected.depths == {"integer": (0, 4095)}
    told = {"images": 2, "lowest": 0, "highest": 4000, "black": 0, "white": 4095}
    assert report()["depth"] == {"integer": told}
    assert "0 is black and 4095 white in all of them" in capsys.readouterr().out


def test_a_folder_and_an_unreadable_file_are_unusable(
    photos: Path, inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "c.png" and path.is_relative_to(photos):
            raise PermissionError(13, "Permission denied")
        return open_file(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    text = "path,y\ncat/a.png,c\ncat/b.png,d\ncat,c\ndog/c.png,d\n"
    collected = download_dataset(table(text, max_bad=2), RAW, REPORT, inspect, normalise)
    assert {bad["path"]: bad["reason"] for bad in collected.report["unusable"]} == {
        "cat": "not a file",
        "dog/c.png": "no permission to read it",
    }


def test_a_large_file_that_is_no_picture_is_not_read_into_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = photos / "cat" / "film.mp4"
    with film.open("wb") as file:
        file.write(b"\0\0\0\x18ftypisom")
        file.truncate(LARGE + 1)
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        assert path != film
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    download_dataset(folder(max_bad=1), RAW, REPORT, decode.inspect, normalise)
    assert [bad["path"] for bad in report()["unusable"]] == ["cat/film.mp4"]
    assert report()["unusable"][0]["reason"].startswith("format not allowed: video")


def test_equal_rows_become_one_and_are_counted(photos: Path, inspect: Inspect) -> None:
    text = "path,y\ncat/a.png,c\n./cat/a.png,c\ndog/c.png,d\n"
    collected = download_dataset(table(text), RAW, REPORT, inspect, normalise)
    assert collected.samples["path"].tolist() == ["cat/a.png", "dog/c.png"]
    assert collected.report["repeated"] == {"rows": 1, "paths": ["cat/a.png"]}
    assert collected.sentence.endswith("1 repeated rows")


@pytest.mark.parametrize(
    "text", ["path,y\na,c\na,d\n", "path,y\na,c\na,\nb,d\n", "path,y,split\na,c,train\na,c,test\n"]
)
def test_rows_that_contradict_each_other_are_named(photos: Path, inspect: Inspect, text: str) -> None:
    with pytest.raises(DatasetError, match=r"contradict each other, first 'a': \{'(y|split)'"):
        download_dataset(table(text), RAW, REPORT, inspect, normalise)


@pytest.mark.parametrize(
    ("text", "changes", "error", "match"),
    [
        ("path,y\n", {}, DatasetError, "holds no images"),
        ("path,y\ncat/a.png,c\n", {"group": "patient"}, SourceError, "data.group is 'patient'"),
        ("path,y\ncat/a.png,c\ndog/c.png,c\n", {}, LabelError, "two classes"),
        ("path,y\ncat/a.png,c\ncat/none.png,d\n", {"max_bad": 1}, LabelError, "two classes"),
    ],
)
def test_a_source_that_teaches_nothing_is_refused(
    photos: Path, inspect: Inspect, text: str, changes: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        download_dataset(table(text, **changes), RAW, REPORT, inspect, normalise)
    assert not RAW.exists()


def test_names_that_differ_in_capitals_are_kept_apart_and_told(
    photos: Path, draw: Draw, inspect: Inspect, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(photos / "cat/A.PNG", 9)
    collected = download_dataset(folder(), RAW, REPORT, inspect, normalise)
    assert len(collected.samples) == 4
    assert collected.report["differ_in_capitals"] == [["cat/A.PNG", "cat/a.png"]]
    assert "differ only in capitals" in capsys.readouterr().out


def test_a_crash_leaves_nothing_and_the_next_run_sweeps(photos: Path, inspect: Inspect) -> None:
    def crash(source: Path | bytes, max_megapixels: float) -> Inspected:
        raise ZeroDivisionError

    (Path("data") / ".raw.killed").mkdir(parents=True)
    with pytest.raises(ZeroDivisionError):
        download_dataset(folder(), RAW, REPORT, crash, normalise)
    assert list(Path("data").iterdir()) == []
    assert not REPORT.exists()


def test_an_archive_leaves_no_scratch_behind(photos: Path, inspect: Inspect) -> None:
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, path.relative_to(photos))
    sha256 = hashlib.sha256(Path("photos.zip").read_bytes()).hexdigest()
    source = {"kind": "archive", "location": "photos.zip", "sha256": sha256, "max_members": 9, "max_gigabytes": 0.1}
    inside = {"kind": "folder", "path": "."}
    collected = download_dataset(data({**source, "inside": inside}, BY_CLASS), RAW, REPORT, inspect, normalise)
    assert collected.samples["y"].tolist() == ["cat", "cat", "dog"]
    assert not Path(".checkpoints/download").exists()


def test_the_limit_of_pixels_reaches_the_decoder(photos: Path, inspect: Inspect) -> None:
    seen = set()

    def note(source: Path | bytes, max_megapixels: float) -> Inspected:
        seen.add(max_megapixels)
        return inspect(source, max_megapixels)

    download_dataset(
        data({"kind": "folder", "path": "photos"}, BY_CLASS, max_megapixels=3.5), RAW, REPORT, note, normalise
    )
    assert seen == {3.5}


def test_a_full_disk_is_told_before_copying(photos: Path, inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage)
    with pytest.raises(DatasetError, match="has 10 free"):
        download_dataset(folder(), RAW, REPORT, inspect, normalise)


class _Usage:
    free = 10


def test_names_for_people_come_along_and_what_has_none_is_noted(photos: Path, inspect: Inspect) -> None:
    Path("names.csv").write_text("class,en,zh\ncat,Cat,猫\ndog,,狗\n", encoding="utf-8")
    rest = {"package": None, "separator": None, "header": None, "key": "class", "languages": {"en": "en", "zh": "zh"}}
    source = {"kind": "folder", "path": "photos"}
    collected = download_dataset(
        data(source, BY_CLASS, names={"y": {"table": "names.csv", **rest}}), RAW, REPORT, inspect, normalise
    )
    assert collected.names == {"y": {"en": {"cat": "Cat"}, "zh": {"cat": "猫", "dog": "狗"}}}
    assert report()["notes"] == ["no name in 'en' for 1 of 2 classes of 'y', which keep their own: ['dog']"]
