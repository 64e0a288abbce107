"""Lists that go with a checkpoint of RAM, through `meltpoint convert-ram`: each is refused by name, or read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import save_clip
from tiny_ram import TAGS, VECTORS, make_state

from meltpoint.cli import run
from meltpoint.model.card import read_card
from meltpoint.tasks.answerer import open_answerer

SECTION = "Tag lists"
Files = dict[str, bytes]


def lines(*words: str, encoding: str = "utf-8") -> bytes:
    return "".join(f"{word}\n" for word in words).encode(encoding)


def array(*shape: int, fill: float = 0.5) -> bytes:
    path = Path("made.npy")
    np.save(path, np.full(shape, fill, np.float32))
    return path.read_bytes()


def clip(width: int) -> bytes:
    save_clip(Path("made.safetensors"), width)
    return Path("made.safetensors").read_bytes()


MAKERS: dict[str, Callable[[], Files]] = {
    "lists that fit": lambda: {"tags-zh": lines("狗", "猫", "咖啡馆", "消防车", "雪"), "delete": lines("snow")},
    "a list in another encoding": lambda: {"tags": lines(*TAGS, encoding="latin-1")},
    "a byte order mark": lambda: {"tags": lines(*TAGS, encoding="utf-8-sig")},
    "a tag twice": lambda: {"tags": lines("dog", *TAGS[1:4], "dog")},
    "a tag that holds the sign between tags": lambda: {"tags": lines("dog|wolf", *TAGS[1:])},
    "fewer tags than the checkpoint has": lambda: {"tags": lines(*TAGS[:4])},
    "an empty line": lambda: {"tags": lines("dog", "", *TAGS[1:])},
    "fewer names in Chinese": lambda: {"tags-zh": lines("狗", "猫")},
    "fewer thresholds": lambda: {"thresholds": lines("0.5", "0.5")},
    "a threshold that is no number": lambda: {"thresholds": lines("0.5", "0.5", "much", "0.5", "0.5")},
    "a threshold above 1": lambda: {"thresholds": lines("0.5", "0.5", "68", "0.5", "0.5")},
    "a deleted tag that there is not": lambda: {"delete": lines("wolf")},
    "vectors of another number of tags": lambda: {"vectors": array(4, VECTORS)},
    "vectors of another width": lambda: {"vectors": array(5, VECTORS + 1)},
    "vectors with NaN": lambda: {"vectors": array(5, VECTORS, fill=float("nan"))},
    "vectors that are text": lambda: {"vectors": lines("0.1 0.2")},
    "tags of your own, and what makes vectors of them": lambda: {
        "tags": lines("red car", "lantern"),
        "thresholds": lines("0.5", "0.5"),
        "text": clip(VECTORS),
    },
    "a text encoder of another width": lambda: {"text": clip(2 * VECTORS)},
    "a text encoder without texts": lambda: {"text": array(2, 2)},
    "vectors, and what makes them, too": lambda: {"vectors": array(5, VECTORS), "text": b""},
}


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": make_state()}, "ram.pth")


def convert(files: Files, told: Any) -> tuple[int, str]:
    given = {"tags": lines(*TAGS), "thresholds": lines(*["0.5"] * len(TAGS)), **files}
    words = ["convert-ram", "ram.pth", "ram", "--licence", "none"]
    for name, content in given.items():
        path = Path(name + {"vectors": ".npy", "text": ".safetensors"}.get(name, ".txt"))
        path.write_bytes(content)
        words += [f"--{name}", str(path)]
    return told(lambda: run(words))


def test_tag_lists(row: Any, told: Any) -> None:
    code, said = convert(MAKERS[row.name](), told)
    assert all(quote in said for quote in row.quotes), said
    assert code == (0 if row.fate == "read" else 1)
    assert Path("ram").exists() == (row.fate == "read"), "the command writes all or nothing"


def test_the_folder_answers_with_tags_above_their_thresholds_but_the_deleted(told: Any) -> None:
    assert convert(MAKERS["lists that fit"]() | {"thresholds": lines("0.4", "0", "0", "1", "0")}, told)[0] == 0
    assert read_card(Path("ram")).heads["tags"].thresholds == [0.4, 0, 0, 1, 1]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    answerer = open_answerer(Path("ram"))
    shares, said = answerer.probabilities(pixels[None])["tags"][0], answerer.predict("photo.png", language="zh")
    assert not isinstance(said, list)
    names = {choice.name for choice in said.tags["tags"].tags}
    assert names == ({"狗"} if shares[0] > 0.4 else set()) | {"猫", "咖啡馆"}


def test_every_row_is_a_case(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
