"""A saved model that answers in other words than its own."""

from pathlib import Path

import pytest
import torch
from worded import save_sentences

from meltpoint.cli import run
from meltpoint.model.library import open_text
from meltpoint.model.text_vectors import embed_words
from meltpoint.predict.records import Answer
from meltpoint.predict.word_list import Word, read_words
from meltpoint.tasks.answerer import open_answerer


def test_answers_are_likenesses_to_words_and_tags_stand_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = open_answerer(save_sentences(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("tags.txt").write_text("dog|\u72d7\ncat||0\nred car||1\n", encoding="utf-8")
    words, photo = read_words("tags.txt"), tmp_path / "photo.png"
    assert words == [Word("dog", "\u72d7"), Word("cat", None, 0.0), Word("red car", None, 1.0)]
    answer = told.with_words(words).predict(photo, language="zh")
    assert isinstance(answer, Answer)
    assert {choice.name for choice in answer.heads["words"].top} == {"\u72d7", "cat", "red car"}
    pixels = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    given = told.with_words(["dog", "cat", "red car"]).probabilities(pixels.numpy())["words"][0]
    encoder = open_text(told.card.backbone)
    vectors = embed_words(encoder, {name: [name] for name in ("dog", "cat", "red car")})
    with torch.no_grad():
        image = torch.nn.functional.normalize(told.predictor.model.features(pixels)["final"], dim=1)
    expected = (encoder.scale * image @ vectors.T).softmax(1)[0]
    torch.testing.assert_close(torch.from_numpy(given), expected, rtol=1e-4, atol=1e-5)
    one, other = told.with_words(["dog", "cat"]).probabilities(pixels.numpy())["words"][0]
    assert abs(one / other - given[0] / given[1]) < 1e-3
    tags = told.with_words(words, tags=True).predict(photo)
    assert isinstance(tags, Answer)
    names = [choice.label for choice in tags.tags["words"].tags]
    assert "cat" in names
    assert "red car" not in names


def test_words_that_say_nothing_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--out` the model is opened again to answer."""
    monkeypatch.chdir(tmp_path)
    save_sentences(tmp_path, ["photograph", "something", "dog", "cat"])
    words = ["predict", "photo.png", "--model", "told", "--words", "dog, kitten"]
    for more in ([], ["--out", "out"]):
        capsys.readouterr()
        run([*words, *more])
        assert capsys.readouterr().err.count("warning: 1 word says next to nothing to the text encoder") == 1
    model = open_answerer(tmp_path / "told")
    assert model.with_words(["dog", "cat"]).doubts == ()
    assert len(model.with_words(["dog", "kitten"]).doubts) == 1
