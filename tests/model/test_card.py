import json
from pathlib import Path
from typing import Any

import pytest

from meltpoint.model.card import CARD, FORMAT, Card, ModelError, TreeCard, read_card


def facts() -> dict[str, Any]:
    head = {
        "kind": "linear",
        "label": "a",
        "tap": -2,
        "weight": 1.0,
        "class_weights": "none",
        "target": "nominal",
        "where": None,
        "threshold": None,
        "unknown": None,
        "main": True,
    }
    return {
        "format": FORMAT,
        "strategy": "frozen",
        "task": "classification",
        "backbone": {
            "name": "test_resnet",
            "args": {"drop_rate": 0.1},
            "weights": {"kind": "file", "path": "/home/someone/w.pth", "match": "name", "licence": "MIT"},
            "mean": None,
            "std": None,
        },
        "images": {"side": 64, "resize": "squash", "interpolation": "area"},
        "max_megapixels": 10.0,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "heads": {
            "one": {
                "head": head,
                "classes": ["x", "ÿ"],
                "outputs": 1,
                "threshold": 0.25,
                "unknown_below": None,
                "names": {"zh": {"x": "树式"}},
                "colours": ["#000000", "#ff8000"],
            }
        },
        "tree": None,
        "main_head": "one",
        "metric": "accuracy",
        "key": "k",
        "data": "d",
        "seed": 3,
        "licence": "MIT",
        "trainable_parameters": 12,
        "versions": {"torch": "2"},
    }


def write(folder: Path, content: object) -> None:
    (folder / CARD).write_text(json.dumps(content), encoding="utf-8")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    card = Card.model_validate(facts())
    write(tmp_path, card.model_dump(mode="json"))
    assert read_card(tmp_path) == card
    assert card.classes == {"one": ["x", "ÿ"]}
    assert card.thresholds == {"one": 0.25}


def test_a_tree_is_kept(tmp_path: Path) -> None:
    tree = {"levels": ["one", "two"], "parents": {"two": {"x": "ÿ"}}}
    card = Card.model_validate(facts() | {"tree": tree})
    write(tmp_path, card.model_dump(mode="json"))
    assert read_card(tmp_path).tree == card.tree == TreeCard(levels=["one", "two"], parents={"two": {"x": "ÿ"}})


def test_where_the_weights_lay_is_not_told() -> None:
    assert "someone" not in Card.model_validate(facts()).model_dump_json()
    assert "w.pth" in Card.model_validate(facts()).model_dump_json()


def test_no_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        read_card(tmp_path)
    with pytest.raises(ModelError, match="holds no model"):
        read_card(tmp_path / "nowhere")


def test_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("{half")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        read_card(tmp_path)


@pytest.mark.parametrize("content", [[], {}, {"format": FORMAT + 1}, "text"])
def test_another_format_is_told(tmp_path: Path, content: object) -> None:
    write(tmp_path, content)
    with pytest.raises(ModelError, match="format"):
        read_card(tmp_path)


@pytest.mark.parametrize("change", [{"strategy": None}, {"surprise": 1}, {"mean": [0.5]}, {"tree": {"levels": []}}])
def test_a_foreign_card_names_what_is_wrong(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, facts() | change)
    with pytest.raises(ModelError, match=next(iter(change))):
        read_card(tmp_path)
