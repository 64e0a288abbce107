"""Lists of words that cannot be used, and encoders that know none: said before a picture is read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hostile.conftest import Row, run_told
from safetensors.torch import save_file
from worded import save_sentences, save_wordless

from meltpoint.cli import run
from meltpoint.data.descriptions import read_descriptions
from meltpoint.model.library import open_text
from meltpoint.params.data import DescriptionTable
from meltpoint.params.model import Backbone

SECTION = "Words"
LISTS: dict[str, tuple[str, bytes | None]] = {
    "an empty list": (" , ", None),
    "an empty file": ("empty.txt", b"\n\n"),
    "no such list": ("gone.txt", None),
    "a list in Latin-1": ("latin.txt", "d\xfcck, red".encode("latin-1")),
    "a list in UTF-8 with a byte order mark": ("marked.txt", b"\xef\xbb\xbfdog\ncat\n"),
    "one word twice": ("dog, cat, Dog", None),
    "a line of four cells": ("cells.txt", b"dog|a|0.5|b\n"),
    "a threshold that is none": ("seven.txt", b"dog||7\n"),
    "a word of signs that the encoder does not know": ("dog, \u2603", None),
    "a word that is nothing": ("dog, \u200b", None),
    "a text that is too long": ("dog, " + "a " * 300, None),
    "one word alone, and no tags": ("dog", None),
}
PROMPTS: dict[str, bytes | None] = {
    "templates in no file": None,
    "an empty file of templates": b"\n",
    "a template without a place for the word": b"a photo of a {}.\na photo\n",
}
SIDES = {  # of a model of open_clip, whose text side is asked for
    "a tokenizer's folder that holds none": ("ViT-B-16-SigLIP", "nothing", {}),
    "a tokenizer's folder for a model that brings its own": ("ViT-B-16", "nothing", {}),
    "a file without the text side": ("MobileCLIP2-S0", None, {"visual.trunk.stem": torch.zeros(1)}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_sentences(folder)
    save_wordless(folder / "wordless")
    return folder


def predict(models: Path, name: str, words: str, *more: str) -> Callable[[], None]:
    asked = ["predict", str(models / "photo.png"), "--model", str(models / name), "--words", words, "--csv", *more]
    return lambda: run(asked)


def ask(name: str, folder: str | None, tensors: dict[str, torch.Tensor]) -> None:
    weights: dict[str, str] = {"kind": "random"}
    if tensors:
        save_file(tensors, "clip.safetensors")
        weights = {"kind": "file", "path": "clip.safetensors", "match": "name", "licence": "MIT"}
    text = None if folder is None else {"folder": folder}
    Path("nothing").mkdir()
    open_text(Backbone.model_validate({"library": "open_clip", "name": name, "weights": weights, "text": text}))


def describe() -> None:
    Path("d.csv").write_text("class,says\ncat,it purrs\n")
    table = DescriptionTable(table="d.csv", key="class", columns=["says"])
    read_descriptions({"pet": table}, {"pet": ["cat", "dog"]})


def test_a_row_of_the_page(row: Row, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if row.name not in ("a text encoder that is not where it was", "a class without a description"):
        (tmp_path / "text").symlink_to(models / "text")
    if row.name in LISTS:
        words, content = LISTS[row.name]
        if content is not None:
            (tmp_path / words).write_bytes(content)
        told = run_told(predict(models, "told", words))
    elif row.name in PROMPTS:
        if (own := PROMPTS[row.name]) is not None:
            (tmp_path / "prompts.txt").write_bytes(own)
        told = run_told(predict(models, "told", "dog, cat", "--prompts", "prompts.txt"))
    elif row.name == "a threshold for all that is none":
        told = run_told(predict(models, "told", "dog, cat", "--tags", "--threshold", "68"))
    elif row.name in SIDES:
        told = run_told(lambda: ask(*SIDES[row.name]))
    elif row.name == "an encoder without a text side":
        told = run_told(predict(models, "wordless", "dog, cat"))
    elif row.name == "a text encoder that is not where it was":
        told = run_told(predict(models, "told", "dog, cat"))
    else:
        told = run_told(describe)
    assert told[0] == (1 if row.fate == "refused" else 0), told[1]
    assert all(quote in " ".join(told[1].split()) for quote in row.quotes), told[1]
    assert row.fate == "refused" or "dog" in told[1]
