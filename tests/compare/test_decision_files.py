import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from meltpoint.compare.decision import compare
from meltpoint.compare.decision_files import write_decision
from meltpoint.params.judging import Compare

VOID = {"meta", "img", "link", "br", "rect", "line", "circle", "path", "polyline"}


class Outline(HTMLParser):
    """Every tag is closed, every id is there once, and nothing is asked from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.asked: list[str] = []
        self.pictures: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.asked += [str(found[key]) for key in ("src", "href") if key in found]
        self.pictures += [found] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


CASES: dict[str, dict[str, tuple[float, float]]] = {
    "ship": {"frozen": (0.25, 1.0), "finetune": (0.05, 100.0)},
    "open": {"frozen": (0.13, 1.0), "middle": (0.12, 9.0), "finetune": (0.08, 100.0)},
    "one": {"only": (0.1, 1.0)},
}


@pytest.fixture(params=CASES)
def written(request: pytest.FixtureRequest, reports: Any, settings: Compare) -> Path:
    decision = compare(reports.results(**CASES[request.param]), settings)
    write_decision(decision, reports.folder)
    folder: Path = reports.folder
    return folder


def test_json_holds_the_decision_with_its_evidence(written: Path) -> None:
    found = json.loads((written / "compare.json").read_text())
    names = [row["name"] for row in found["strategies"]]
    assert found["winner"] in names
    assert found["verdict"] in ("ship", "not_enough_evidence")
    assert (found["verdict"] == "ship") == found["sentence"].startswith("Ship ")
    assert (found["main_head"], found["metric"], found["margin"], found["confidence"]) == (
        "defective",
        "accuracy",
        0.01,
        0.95,
    )
    assert found["images"] == {"val": 200, "test": 200}
    for row in found["strategies"]:
        low, high = row["intervals"]["test"]["defective"]["accuracy"]
        assert low <= row["metrics"]["test"]["defective"]["accuracy"] <= high
        assert row["cost"]["train_seconds"] > 3
        assert "classes" not in row["metrics"]["val"]["severity"]
    assert len(found["pairs"]) == 2 * (len(names) - 1)
    for pair in found["pairs"]:
        assert {pair["a"], pair["b"]} <= set(names)
        assert pair["interval"][0] <= pair["difference"] <= pair["interval"][1]
        assert pair["p_value"] <= pair["p_holm"] <= 1


def test_text_lines_up(written: Path) -> None:
    text = (written / "compare.md").read_text()
    assert json.loads((written / "compare.json").read_text())["sentence"] in text
    table = [line for line in text.splitlines() if line.startswith("|")][:3]
    assert len({len(line) for line in table}) == 1
    assert len({tuple(match.start() for match in re.finditer(r"\|", line)) for line in table}) == 1


def test_the_page_is_whole_and_asks_for_nothing(written: Path) -> None:
    page = (written / "compare.html").read_text()
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert all(address.startswith("data:image/jpeg;base64,") for address in outline.asked)
    assert not re.findall(r"https?://|url\(|@import|nan|None\b", re.sub(r"base64,[^\"]+", "", page))
    for picture in outline.pictures:
        image = Image.open(io.BytesIO(base64.b64decode(str(picture["src"]).split(",")[1])))
        assert picture["alt"]
        assert image.size == (int(picture["width"] or 0), int(picture["height"] or 0))


def test_the_page_says_the_decision(written: Path) -> None:
    page, found = (written / "compare.html").read_text(), json.loads((written / "compare.json").read_text())
    shipped = found["verdict"] == "ship"
    assert f"<h1>{'Ship ' + found['winner'] if shipped else found['winner'] + ', for now'}</h1>" in page
    assert ("Not enough evidence" in page.split("<main>")[0].split("<body>")[1]) != shipped
    for row in found["strategies"]:
        assert page.count(row["name"]) > 5


def test_names_cannot_break_the_page(reports: Any, predict: Any, settings: Compare) -> None:
    reports = type(reports)(reports.folder, {"<b>head": ["a&b", "<script>"]})
    reports.add("one", predict(0.1, 1, classes=reports.classes))
    write_decision(compare(reports.read("one"), settings), reports.folder)
    page = (reports.folder / "compare.html").read_text()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page


def test_writing_twice_writes_the_same(written: Path, reports: Any, settings: Compare) -> None:
    before = {name: (written / name).read_bytes() for name in ("compare.json", "compare.md", "compare.html")}
    names = [row["name"] for row in json.loads(before["compare.json"])["strategies"]]
    write_decision(compare(reports.read(*names), settings), written)
    assert {name: (written / name).read_bytes() for name in before} == before
