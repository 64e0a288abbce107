import pandas as pd
import pytest

from meltpoint.data.dataset_report import build_report, closing_sentence
from meltpoint.data.listing import ListCoverage, Listing, Skipped


def report(**changes: object) -> dict[str, object]:
    columns = {"path": ["a", "b"], "y": ["x", "z"], "split": ["train", None], "group": [None, None]}
    samples = pd.DataFrame(columns, dtype="string").assign(bytes=[3, 4])
    listing = Listing(
        "csv t", samples, samples, ignored=[Skipped("README", "in no class folder")], notes=["read as gbk"]
    )
    met = build_report(listing, samples, {"y": ["x", "z"]}, [Skipped("c", "truncated")], {"rows": 0, "paths": []})
    return met | changes


def test_the_report_holds_all_of_it() -> None:
    met = report()
    assert met["bytes"] == 7
    assert met["unusable"] == [{"path": "c", "reason": "truncated"}]
    assert met["ignored"] == [{"path": "README", "reason": "in no class folder"}]
    assert met["splits"] == {"train": 1, "val": 0, "test": 0}
    assert met["differ_in_capitals"] == []


def test_the_sentence_holds_the_gist_and_notes_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = closing_sentence(report(differ_in_capitals=[["A", "a"]]))
    assert sentence == "2 images from csv t, y (x 1 z 1), 1 unusable, 1 ignored"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Note: read as gbk"
    assert "['A', 'a']" in said[1]


def test_published_lines_without_an_image_are_counted_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    samples = pd.DataFrame({"path": ["a"], "y": ["x"], "split": ["train"], "group": [None]}, dtype="string")
    coverage = {"x": ListCoverage(lines=3, images=1), "z": ListCoverage(lines=4, images=0)}
    listing = Listing("yoga82 t", samples, samples, coverage=coverage)
    met = build_report(listing, samples.assign(bytes=[3]), {"y": ["x"]}, [], {"rows": 0, "paths": []})
    assert met["published"] == {
        "lines": 7,
        "images": 1,
        "absent": 6,
        "by_class": {"x": {"lines": 3, "images": 1, "absent": 2}, "z": {"lines": 4, "images": 0, "absent": 4}},
    }
    closing_sentence(met)
    said = capsys.readouterr().out
    assert said == "1 of 7 lines have an image; 1 of 2 classes, all but ['z']\n"


def test_many_classes_are_not_all_told() -> None:
    counts = {f"class {number}": number for number in range(1, 83)}
    assert ", y (82 classes of 1 to 82 images), " in closing_sentence(report(labels={"y": counts}))
