"""RAM asked for other tags than its own: by CLIP's text side where it answers, or once for all when it is converted."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from PIL import Image
from tiny_clip import save_clip
from tiny_ram import SIDE, TAGS, VECTORS, answer, make_state

from meltpoint.cli import run
from meltpoint.model.card import read_card
from meltpoint.model.ram import MEAN, STD
from meltpoint.model.text_vectors import TextError
from meltpoint.predict.records import Answer
from meltpoint.predict.word_list import Word
from meltpoint.tasks.answerer import open_answerer

ASKED = ["red car", "cup of tea", "lantern"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its list, a CLIP of its width, one of another, and the model folder `ram`."""
    place = tmp_path_factory.mktemp("words")
    torch.save({"model": make_state()}, place / "ram.pth")
    (place / "tags.txt").write_text("\n".join(TAGS), encoding="utf-8")
    (place / "mine.txt").write_text("\n".join(ASKED), encoding="utf-8")
    save_clip(place / "clip.safetensors", VECTORS)
    save_clip(place / "wide.safetensors", 2 * VECTORS)
    convert(place, "tags.txt", "ram")
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(place / "photo.png")
    return place


def convert(place: Path, tags: str, name: str, *more: str) -> None:
    words = ["convert-ram", str(place / "ram.pth"), str(place / name), "--tags", str(place / tags)]
    run([*words, "--threshold", "0.5", "--licence", "none", *more])


def expected(folder: Path, words: list[str]) -> np.ndarray:
    """Probabilities by open_clip's own zero-shot classifier and a forward pass that was written from RAM's paper."""
    model = save_clip(folder / "again.safetensors", VECTORS)
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    vectors = open_clip.build_zero_shot_classifier(model, tokenizer, words, OPENAI_IMAGENET_TEMPLATES).T
    pixels = torch.from_numpy(np.asarray(Image.open(folder / "photo.png")).copy()).float() / 255
    images = ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)[None]
    return answer({**make_state(), "label_embed": vectors}, images).sigmoid()[0].numpy()


def test_words_are_the_vectors_that_open_clip_makes_of_them(folder: Path) -> None:
    told = open_answerer(folder / "ram").with_words(ASKED, text=folder / "clip.safetensors")
    pixels = np.array(Image.open(folder / "photo.png"))[None]
    shares = told.probabilities(pixels)["words"][0]
    np.testing.assert_allclose(shares, expected(folder, ASKED), atol=1e-5)
    named = [Word("lantern", "灯笼", 0.0), Word("red car", None, 1.0), "cup of tea"]
    given = open_answerer(folder / "ram").with_words(named, text=folder / "clip.safetensors", threshold=1.0)
    said = given.predict(folder / "photo.png", language="zh")
    assert isinstance(said, Answer)
    assert [choice.name for choice in said.tags["words"].tags] == ["灯笼"]


def test_the_command_answers_in_words_by_templates_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["predict", str(folder / "photo.png"), "--model", str(folder / "ram"), "--words", ", ".join(ASKED)]
    text = ["--text", str(folder / "clip.safetensors")]
    (folder / "prompts.txt").write_text("a photo of a {}.\n{}\n")
    run([*given, *text, "--threshold", "0", "--json"])
    first = json.loads(capsys.readouterr().out)["heads"]["words"]
    assert {tag["label"] for tag in first["tags"]} == set(ASKED)
    run([*given, *text, "--threshold", "0", "--prompts", str(folder / "prompts.txt"), "--json"])
    other = json.loads(capsys.readouterr().out)["heads"]["words"]
    assert first["tags"][0]["probability"] != other["tags"][0]["probability"]
    run([*given[:4], "--tags"])  # of a model that gives tags they need no words
    assert capsys.readouterr().out.split()[1] == "tags"
    with pytest.raises(TextError, match="gives vectors of 24 numbers, and the head takes 12"):
        open_answerer(folder / "ram").with_words(ASKED, text=folder / "wide.safetensors")


def test_a_folder_of_other_tags_is_made_by_the_text_side(folder: Path) -> None:
    convert(folder, "mine.txt", "mine", "--text", str(folder / "clip.safetensors"))
    assert read_card(folder / "mine").heads["tags"].classes == ASKED
    pixels = np.array(Image.open(folder / "photo.png"))[None]
    shares = open_answerer(folder / "mine").probabilities(pixels)["tags"][0]
    np.testing.assert_allclose(shares, expected(folder, ASKED), atol=1e-5)
