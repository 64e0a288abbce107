import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.predict.batch import say_cells, say_json, say_line, write_cells
from meltpoint.predict.drawer import common_root, place_of, write_drawing
from meltpoint.predict.fonts import NARROWEST, open_fonts
from meltpoint.predict.records import Answer, Choice, HeadAnswer
from meltpoint.tasks.classification import display
from meltpoint.tasks.classification.display import SURE, UNSURE

if TYPE_CHECKING:
    from saved_models import Kit

STAND = Choice("stand", "站立", 0.97)
TREE, DANCER = Choice("tree", "樹式", 0.7123456789), Choice("dancer", "舞王式", 0.2)
HEADS = {
    "pose": HeadAnswer("tree", "樹式", TREE.probability, (TREE, DANCER), (STAND, TREE), False),
    "overall": HeadAnswer("stand", "站立", 0.97, (STAND,), (STAND,), False),
    "indoors": HeadAnswer("no", "no", 0.55, (Choice("no", "no", 0.55), Choice("yes", "yes", 0.45)), (), True),
}
GOOD = Answer('a, "b".jpg', None, HEADS, ("overall", "pose"))
BAD = Answer("c.jpg", "truncated", {}, ("overall", "pose"))


def test_a_line_goes_from_the_root_to_the_leaf() -> None:
    assert say_line(GOOD, display, "pose") == (
        'a, "b".jpg  overall 站立 97.0% > pose 樹式 71.2% (舞王式 20.0%); indoors unknown, perhaps no 55.0%'
    )
    assert say_line(BAD, display, "pose") == "c.jpg  cannot be used: truncated"


def test_json_is_one_line_that_keeps_everything() -> None:
    line = say_json(GOOD, display)
    assert "\n" not in line
    assert "樹式" in line
    told = json.loads(line)
    assert told["heads"]["pose"]["top"][0] == {"label": "tree", "name": "樹式", "probability": 0.712346}
    assert told["heads"]["pose"]["path"][0]["label"] == "stand"
    assert told["heads"]["indoors"]["unknown"] is True
    assert told["levels"] == ["overall", "pose"]
    assert json.loads(say_json(BAD, display)) == {
        "source": "c.jpg",
        "error": "truncated",
        "heads": {},
        "levels": told["levels"],
    }


@pytest.mark.parametrize("top", [1, 3])
def test_rows_of_a_table_fit_its_columns(kit: "Kit", top: int) -> None:
    classes = {"pose": ["tree", "dancer", "corpse"], "overall": ["stand", "lie"], "indoors": ["no", "yes"]}
    columns = display.columns(kit.card({head: kit.head(head) for head in classes}, classes), top)
    columns = ["source", "error", *columns]
    text = "\n".join([write_cells(columns), say_cells(GOOD, display, columns), say_cells(BAD, display, columns)])
    good, bad = csv.DictReader(io.StringIO(text))
    assert good["source"] == 'a, "b".jpg'
    assert (good["pose"], good["pose.name"], good["pose.probability"]) == ("tree", "樹式", "0.712346")
    assert good["pose.top1"] == "樹式"
    assert ("pose.top2" in good) == (top > 1)
    assert ("overall.top2" in good, "overall.top3" in good) == (top > 1, False)
    assert good["indoors.unknown"] == "True"
    assert {name: cell for name, cell in bad.items() if cell} == {"source": "c.jpg", "error": "truncated"}


def make(name: str, share: float, unknown: bool = False) -> Answer:
    top = (Choice("tree", name, share), Choice("dancer", "舞王式", (1 - share) / 2))
    pose = HeadAnswer("tree", name, share, top, (), unknown)
    overall = HeadAnswer("stand", "站立", 0.9, (), (), False)
    return Answer("a.jpg", None, {"pose": pose, "overall": overall}, ("overall", "pose"))


def drawing_of(answer: Answer, height: int = 300, width: int = 640, value: int = 128) -> "np.ndarray[Any, Any]":
    picture = np.full((height, width, 3), value, np.uint8)
    return np.asarray(display.draw(picture, answer, "pose", [open_fonts(20, None, "zh")] * 2, steady=False))


def count(drawing: "np.ndarray[Any, Any]", colour: str) -> int:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((drawing == wanted).all(-1).sum())


@pytest.mark.parametrize("value", [0, 255])
def test_the_picture_stays_as_it_is_and_words_are_beside_it(value: int) -> None:
    drawing = drawing_of(make("樹式", 0.7), value=value)
    assert (drawing[:300] == value).all()
    panel = drawing[300:]
    assert (panel == 255).all(-1).mean() > 0.7
    assert (panel < 100).all(-1).sum() > 100, "dark letters on white, whatever the picture"


def test_names_and_shares_are_seen() -> None:
    drawing = drawing_of(make("樹式", 0.7))
    assert (drawing != drawing_of(make("船式", 0.7))).any()
    assert count(drawing, SURE) > count(drawing_of(make("樹式", 0.3)), SURE) > 0


def test_unknown_has_its_own_colour_and_word() -> None:
    sure, unsure = drawing_of(make("樹式", 0.7)), drawing_of(make("樹式", 0.7, unknown=True))
    assert count(sure, UNSURE) == 0 < count(unsure, UNSURE)
    row = unsure[300 + 30 : 300 + 60, :300]
    assert (row != sure[300 + 30 : 300 + 60, :300]).any(), "the word stands beside the name"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 2000), (2000, 8)])
def test_pictures_of_any_shape_have_room_for_names(height: int, width: int) -> None:
    drawing = drawing_of(make("樹式" * 200, 0.999), height, width)
    assert drawing.shape[1] == max(width, NARROWEST)
    assert drawing.shape[0] > height + 80


def test_a_drawing_is_a_whole_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = Image.fromarray(drawing_of(make("樹式", 0.7)))
    write_drawing(drawing, tmp_path / "a" / "b.png.jpg")
    with Image.open(tmp_path / "a" / "b.png.jpg") as image:
        assert (image.format, image.size) == ("JPEG", drawing.size)

    def fail(*words: object, **named: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(drawing, "save", fail)
    with pytest.raises(OSError, match="no space"):
        write_drawing(drawing, tmp_path / "a" / "c.jpg")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.png.jpg"]


def test_drawings_mirror_the_pictures_and_never_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("one/photos", "two/photos"):
        Path(folder).mkdir(parents=True)
    root = common_root(["one/photos", str(tmp_path / "two/photos"), "http://a.example/x.jpg"])
    assert root == tmp_path
    sources = ["one/photos/x.jpg", "two/photos/x.jpg", "one/photos/x.png", "one/photos/x.jpg.jpg", "./one/../one/y.jpg",
               "http://a.example/x.jpg", "http://a.example/x.jpg?2", "https://a.example/"]  # fmt: skip
    places = [place_of(source, root, Path("out")) for source in sources]
    assert places[0] == Path("out/one/photos/x.jpg.jpg")
    assert places[4] == Path("out/one/y.jpg.jpg")
    assert len(set(places)) == len(sources)
    assert all(place.resolve().is_relative_to(tmp_path / "out") for place in places)


def test_one_folder_is_its_own_root_and_long_names_still_fit(tmp_path: Path) -> None:
    assert common_root([str(tmp_path)]) == tmp_path
    assert common_root([str(tmp_path / "none.jpg")]) == tmp_path
    assert common_root(["http://a.example/x.jpg"]) == Path.cwd()
    long = [place_of(str(tmp_path / ("樹" * 80 + end)), tmp_path, tmp_path / "out") for end in ("1.jpg", "2.jpg")]
    assert long[0] != long[1]
    for place in long:
        write_drawing(Image.new("RGB", (8, 8)), place)
