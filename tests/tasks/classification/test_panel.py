"""A drawing shows the picture as it is, and below it what the model says, in words that can be read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.predict.drawer import common_root, place_of, write_drawing
from meltpoint.predict.fonts import NARROWEST, open_fonts
from meltpoint.predict.records import Answer, Choice, HeadAnswer
from meltpoint.tasks.classification.panel import SURE, UNSURE, draw_answer


def make(name: str, share: float, unknown: bool = False) -> Answer:
    top = (Choice("tree", name, share), Choice("dancer", "舞王式", (1 - share) / 2))
    pose = HeadAnswer("tree", name, share, top, (), unknown)
    overall = HeadAnswer("stand", "站立", 0.9, (), (), False)
    return Answer("a.jpg", None, {"pose": pose, "overall": overall}, ("overall", "pose"))


def draw(answer: Answer, height: int = 300, width: int = 640, value: int = 128) -> "np.ndarray[Any, Any]":
    picture = np.full((height, width, 3), value, np.uint8)
    return np.asarray(draw_answer(picture, answer, "pose", open_fonts(20, None, "zh")))


def count(drawing: "np.ndarray[Any, Any]", colour: str) -> int:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((drawing == wanted).all(-1).sum())


@pytest.mark.parametrize("value", [0, 255])
def test_the_picture_stays_as_it_is_and_words_are_beside_it(value: int) -> None:
    drawing = draw(make("樹式", 0.7), value=value)
    assert (drawing[:300] == value).all()
    panel = drawing[300:]
    assert (panel == 255).all(-1).mean() > 0.7
    assert (panel < 100).all(-1).sum() > 100, "dark letters on white, whatever the picture"


def test_names_and_shares_are_seen() -> None:
    drawing = draw(make("樹式", 0.7))
    assert (drawing != draw(make("船式", 0.7))).any()
    assert count(drawing, SURE) > count(draw(make("樹式", 0.3)), SURE) > 0


def test_unknown_has_its_own_colour_and_word() -> None:
    sure, unsure = draw(make("樹式", 0.7)), draw(make("樹式", 0.7, unknown=True))
    assert count(sure, UNSURE) == 0 < count(unsure, UNSURE)
    row = unsure[300 + 30 : 300 + 60, :300]
    assert (row != sure[300 + 30 : 300 + 60, :300]).any(), "the word stands beside the name"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 2000), (2000, 8)])
def test_pictures_of_any_shape_have_room_for_names(height: int, width: int) -> None:
    drawing = draw(make("樹式" * 200, 0.999), height, width)
    assert drawing.shape[1] == max(width, NARROWEST)
    assert drawing.shape[0] > height + 80


def test_a_drawing_is_a_whole_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = Image.fromarray(draw(make("樹式", 0.7)))
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
