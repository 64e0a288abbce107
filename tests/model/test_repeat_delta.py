"""A repeat is what differs from the first model, and belongs to that one alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard, ModelError
from meltpoint.model.manifest import ManifestError, write_manifest
from meltpoint.model.model import Model, build_heads, save_model
from meltpoint.model.repeat_delta import CHANGED, list_repeats, load_repeat, save_repeat, write_index
from meltpoint.params.data import Images
from meltpoint.params.heads import LinearHead
from meltpoint.params.model import Backbone, RandomWeights

PARAMS = Backbone(
    name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=[0.5] * 3, std=[0.5] * 3
)
HEAD = LinearHead(
    kind="linear", label="many", tap="final", main=True, weight=1.0, class_weights="none", target="nominal", where=None,
    threshold=None, unknown=None,
)  # fmt: skip
IMAGES = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build() -> Model:
    torch.manual_seed(0)
    backbone = build_backbone(PARAMS, {HEAD.tap}, 32)
    return Model(backbone, build_heads({"many": HEAD}, backbone, {"many": 3}), {"many": HEAD.tap}).eval()


def card(key: str = "k", seed: int = 0) -> Card:
    own = HeadCard(
        head=HEAD, classes=["a", "b", "c"], outputs=3, threshold=None, unknown_below=None, names={}, colours=None
    )
    facts: dict[str, Any] = {
        "format": FORMAT, "strategy": "s", "task": "classification", "backbone": PARAMS,
        "images": Images(side=32, resize="squash", interpolation="area"), "max_megapixels": 10,
        "mean": (0.5,) * 3, "std": (0.5,) * 3, "heads": {"many": own}, "tree": None, "main_head": "many",
        "metric": "f1", "key": key, "data": "d", "seed": seed, "licence": "none", "trainable_parameters": 1,
        "versions": {},
    }  # fmt: skip
    return Card(**facts)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    save_model(build(), card(key="first"), tmp_path / "first")
    return tmp_path / "first"


def test_it_answers_as_the_model_that_was_saved(tmp_path: Path, first: Path) -> None:
    model = build()
    with torch.no_grad():
        model.heads["many"][-1].bias.add_(1.5)  # type: ignore[index,union-attr,operator]
    save_repeat(model, card(key="second", seed=9), first, tmp_path / "2")
    assert list(load_file(tmp_path / "2" / CHANGED)) == ["heads.many.1.bias"]
    repeat = load_repeat(tmp_path / "2", first)
    assert (repeat.card, repeat.keeps_backbone, repeat.model.training) == (card(key="second", seed=9), True, False)
    for name, values in repeat.model(IMAGES).items():
        assert torch.equal(values, model(IMAGES)[name])


def test_a_changed_backbone_is_seen(tmp_path: Path, first: Path) -> None:
    model = build()
    with torch.no_grad():
        next(model.backbone.parameters()).add_(0.1)
    save_repeat(model, card(), first, tmp_path / "2")
    assert not load_repeat(tmp_path / "2", first).keeps_backbone


def test_one_that_is_equal_keeps_nothing(tmp_path: Path, first: Path) -> None:
    save_repeat(build(), card(), first, tmp_path / "2")
    assert load_file(tmp_path / "2" / CHANGED) == {}
    repeat = load_repeat(tmp_path / "2", first)
    assert all(torch.equal(values, build()(IMAGES)[name]) for name, values in repeat.model(IMAGES).items())


def test_another_first_model_is_refused(tmp_path: Path, first: Path) -> None:
    save_repeat(build(), card(), first, tmp_path / "2")
    save_model(build(), card(key="another"), tmp_path / "another")
    with pytest.raises(ModelError, match=r"is a change of another model: of one with the key first, .* has another"):
        load_repeat(tmp_path / "2", tmp_path / "another")


def test_other_tensors_are_refused(tmp_path: Path, first: Path) -> None:
    save_repeat(build(), card(), first, tmp_path / "2")
    save_file({"heads.many.1.bias": torch.zeros(7)}, tmp_path / "2" / CHANGED, {"first": "first"})
    write_manifest(tmp_path / "2")
    with pytest.raises(ModelError, match=r"has no tensors \['heads\.many\.1\.bias'\] of these shapes.*train@s"):
        load_repeat(tmp_path / "2", first)


@pytest.mark.parametrize("name", [CHANGED, "card.json", "manifest.json"])
def test_a_damaged_file_is_told(tmp_path: Path, first: Path, name: str) -> None:
    save_repeat(build(), card(), first, tmp_path / "2")
    (tmp_path / "2" / name).write_bytes(b"{}")
    with pytest.raises(ManifestError):
        load_repeat(tmp_path / "2", first)
    shutil.rmtree(tmp_path / "2")
    with pytest.raises(ManifestError):
        load_repeat(tmp_path / "2", first)


def test_damage_that_the_manifest_confirms_is_told(tmp_path: Path, first: Path) -> None:
    save_repeat(build(), card(), first, tmp_path / "2")
    (tmp_path / "2" / CHANGED).write_bytes(b"no tensors")
    write_manifest(tmp_path / "2")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        load_repeat(tmp_path / "2", first)


def test_the_index_says_how_many(tmp_path: Path) -> None:
    write_index([7], tmp_path / "one")
    write_index([7, 8, 9], tmp_path / "three")
    assert list_repeats(tmp_path / "one") == []
    assert list_repeats(tmp_path / "three") == [tmp_path / "three" / "2", tmp_path / "three" / "3"]
    with pytest.raises(ModelError, match=r"There is no .*repeats\.json.*dvc repro train@frozen"):
        list_repeats(tmp_path / "frozen")
