import pandas as pd
import pytest

from meltpoint.data.listing import Aside, Listing
from meltpoint.data.report import build_report, closing_sentence


def report(**changes: object) -> dict[str, object]:
    columns = {"path": ["a", "b"], "y": ["x", "z"], "split": ["train", None], "group": [None, None]}
    samples = pd.DataFrame(columns, dtype="string").assign(bytes=[3, 4])
    listing = Listing("csv t", samples, samples, ignored=[Aside("README", "in no class folder")], notes=["read as gbk"])
    met = build_report(listing, samples, {"y": ["x", "z"]}, [Aside("c", "truncated")], {"rows": 0, "paths": []})
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
