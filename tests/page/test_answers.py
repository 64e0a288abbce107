"""What stands on the page: answers as HTML, words with thresholds, heat in the picture's own shape, models on offer."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from worded import save_sentences

from meltpoint.errors import UserError
from meltpoint.page.answer_html import show_answer
from meltpoint.page.answers import ask, ask_words, choices, compare, look_where, paint, to_picture
from meltpoint.page.folder import MOST, FolderError, answer_folder
from meltpoint.page.shelf import Shelf, ShelfError
from meltpoint.params.data import Images
from meltpoint.predict.records import Answer, Area, Choice, HeadAnswer, MaskAnswer, TagsAnswer
from meltpoint.predict.word_list import Word
from meltpoint.tasks.answerer import Answerer, open_answerer

if TYPE_CHECKING:
    from saved_models import Kit


@pytest.fixture
def photo(tmp_path: Path, kit: "Kit") -> Path:
    (tmp_path / "photo.png").write_bytes(kit.png(kit.noise(1, 60, 80)))
    return tmp_path / "photo.png"


def test_a_tree_is_a_path_and_names_are_in_the_language(yogi: Answerer, photo: Path) -> None:
    said = ask(yogi, photo, "zh")
    target = said.answer.target
    assert target is not None
    assert all(step.name in said.html for step in target.path)
    assert said.html.count("<li>") == 2  # the root and the family; the leaf is the headline
    assert "indoors" in said.html
    assert said.seen is None
    assert said.drawing is not None


def test_what_is_quoted_cannot_become_markup(yogi: Answerer, photo: Path) -> None:
    answer = ask(yogi, photo, None).answer
    head = replace(answer.heads["pose"], label="<b onload=x>", name="<script>alert(1)</script>")
    html = show_answer(replace(answer, heads={"<i>": head}, levels=()), "<i>")
    assert "<script" not in html
    assert "<b onload" not in html


def test_words_are_tags_above_the_slider_or_their_own_threshold(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the model looks for its text side
    model = open_answerer(save_sentences(tmp_path))
    words = [Word("a dog", "狗"), Word("a red car", threshold=0.0), Word("a boat")]
    shelf = Shelf({"told": "there"}, lambda _: model)
    told = shelf.open_words("told", words, tags=True, prompts=None)
    assert told is shelf.open_words("told", words, tags=True, prompts=None)  # their vectors are kept
    nothing = ask_words(told, photo, words, 1.0, "zh")
    assert "a red car" in nothing.partition("bars")[0]
    assert "狗" not in nothing.partition("bars")[0]
    assert "狗" in ask_words(told, photo, words, 0.0, "zh").partition("bars")[0]


@pytest.mark.parametrize("tags", [True, False])
def test_words_that_say_nothing_are_told_before_the_answer(
    tags: bool, tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = open_answerer(save_sentences(tmp_path, ["photograph", "something", "dog", "boat"]))
    words = [Word("dog"), Word("shuttle"), Word("boat")]
    html = ask_words(model.with_words(words, tags), photo, words, 0.5, None)
    assert html.startswith('<div class="problem" role="alert">1 word says next to nothing to the text encoder')
    assert "&#x27;shuttle&#x27;" in html.partition('<div class="answer">')[0]
    words = words[::2]
    assert ask_words(model.with_words(words, tags), photo, words, 0.5, None).startswith('<div class="answer">')


def test_two_answers_are_compared_by_class_tags_and_pixels() -> None:
    def told(label: str, tags: str, mask: list[int]) -> Answer:
        legend = tuple(Area(name, name, "#000000", 0.5) for name in ("grass", "water"))
        return Answer(
            "photo.png", None, levels=(),
            heads={"kind": HeadAnswer(label, label, 0.9, (), (), unknown=False)},
            tags={"shown": TagsAnswer(tuple(Choice(tag, tag, 0.9) for tag in tags), ())},
            masks={"scene": MaskAnswer(np.array([mask], np.uint8), (), legend)},
        )  # fmt: skip

    first = told("a", "xy", [0, 1, 1, 255])
    assert "the same answer" in compare(first, told("a", "yx", [0, 1, 1, 255]))
    assert "in 1 of 3: scene (25.0% of the picture)" in compare(first, told("a", "xy", [0, 0, 1, 255]))
    assert "in 2 of 3: kind, shown (2 tags are of one model only)" in compare(first, told("b", "xz", [0, 1, 1, 255]))


@pytest.mark.parametrize("way", ["squash", "letterbox", "crop"])
def test_heat_lies_where_the_square_was_cut_from(way: str) -> None:
    images = Images.model_validate({"side": 32, "resize": way, "interpolation": "area"})
    heat = np.zeros((32, 32), np.float32)
    heat[16, 16] = 1  # the middle stays the middle
    wide = to_picture(heat, 40, 80, images)
    assert wide.shape == (40, 80)
    row, column = np.unravel_index(wide.argmax(), wide.shape)
    assert abs(int(row) - 20) <= 3
    assert abs(int(column) - 40) <= 3
    if way == "crop":
        assert not wide[:, :20].any()
    painted = np.asarray(paint(np.full((40, 80, 3), 200, np.uint8), wide))
    assert (painted[row, column] != painted[0, 0]).any()


def test_masks_are_looked_at_by_class(scene_folder: Path, photo: Path) -> None:
    model = open_answerer(scene_folder)
    assert ("water", "scene\twater") in choices(model)
    drawing, text = look_where(model, photo, "scene\twater")
    assert "water" in text
    assert drawing is not None
    assert drawing.size == (80, 60)
    with pytest.raises(UserError, match="no class 'lava'"):
        look_where(model, photo, "scene\tlava")


def test_many_pictures_are_bounded(yogi: Answerer, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "not.png").write_bytes(b"text")
    seen: list[tuple[int, int]] = []
    pictures = [("a/photo.png", photo), ("not.png", tmp_path / "not.png")]
    album = answer_folder(yogi, pictures, "zh", tmp_path / "out", lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
    assert album.reasons == {"not an image": 1}
    with Image.open(album.drawings[0][0]) as drawing:
        assert drawing.format == "JPEG"
    said = yogi.predict(photo, top=1, language="zh").heads["pose"]
    assert album.drawings[0][1] == f"photo.png: {said.name} {said.probability:.1%}"  # as in the drawing
    lines = album.table.read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["a/photo.png", ""], ["not.png", "not an image"]]
    with pytest.raises(FolderError, match="meltpoint predict FOLDER --csv"):
        answer_folder(yogi, [("a", photo)] * (MOST + 1), None, tmp_path, lambda *_: None)


def test_a_shelf_opens_each_model_once_and_keeps_few() -> None:
    opened: list[str] = []

    def load(place: str) -> Answerer:
        opened.append(place)
        return object()  # type: ignore[return-value]

    shelf = Shelf({name: name.upper() for name in "abcd"}, load)
    for name in "aabcda":
        shelf.open(name)
    assert opened == list("ABCDA")
    with pytest.raises(ShelfError, match="a, b, c, d"):
        shelf.open("/etc")
