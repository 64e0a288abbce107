import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from meltpoint.files import write_json
from meltpoint.model import nets
from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard, ModelError
from meltpoint.model.manifest import MANIFEST, ManifestError, write_manifest
from meltpoint.model.model import WEIGHTS, Model, build_heads, load_model, save_model
from meltpoint.params.data import Images
from meltpoint.params.heads import ConvHead, Head, LinearHead, MlpHead
from meltpoint.params.model import Backbone, RandomWeights

PARAMS = Backbone(
    name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=[0.5] * 3, std=[0.5] * 3
)
SHARED: dict[str, Any] = {
    "weight": 1.0,
    "class_weights": "none",
    "target": "nominal",
    "where": None,
    "threshold": None,
    "unknown": None,
}
HEADS: dict[str, Head] = {
    "two": LinearHead(kind="linear", label="two", tap="final", main=True, **SHARED),
    "many": MlpHead(kind="mlp", label="many", tap=-2, hidden=5, dropout=0.5, main=False, **SHARED),
    "own": ConvHead(kind="conv", label="own", tap=-1, main=False, **SHARED),
}
OUTPUTS = {"two": 1, "many": 3, "own": 2}
IMAGES = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build() -> Model:
    torch.manual_seed(0)
    taps = {name: head.reads for name, head in HEADS.items()}
    backbone = build_backbone(PARAMS, set(taps.values()), 64)
    model = Model(backbone, build_heads(HEADS, backbone, OUTPUTS), taps)
    for layer in (model.heads["two"], model.heads["many"]):
        layer[0].mean.normal_()  # type: ignore[index,union-attr,operator]
    return model.eval()


def card(**changes: Any) -> Card:
    heads = {
        name: HeadCard(
            head=head,
            classes=["a", "b", "c"][: OUTPUTS[name] + 1],
            outputs=OUTPUTS[name],
            threshold=None,
            unknown_below=None,
            names={},
            colours=None,
        )
        for name, head in HEADS.items()
    }
    fields: dict[str, Any] = {
        "format": FORMAT,
        "strategy": "s",
        "task": "classification",
        "backbone": PARAMS,
        "images": Images(side=64, resize="squash", interpolation="area"),
        "max_megapixels": 10,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "heads": heads,
        "tree": None,
        "main_head": "two",
        "metric": "f1",
        "key": "k",
        "data": "d",
        "seed": 0,
        "licence": "none",
        "trainable_parameters": 1,
        "versions": {},
    }
    return Card(**(fields | changes))


def test_forward_is_outputs_of_features() -> None:
    model = build()
    features = model.features(IMAGES)
    shapes = {key: tuple(values.shape[1:]) for key, values in features.items()}
    assert shapes == {"final": (256,), "-2": (48,), "-1.map": (64, 2, 2)}
    outputs = model(IMAGES)
    assert {name: tuple(values.shape) for name, values in outputs.items()} == {
        "two": (3, 1),
        "many": (3, 3),
        "own": (3, 2),
    }
    for name, values in model.outputs(features).items():
        assert torch.equal(values, outputs[name])


@pytest.mark.parametrize("name", ["type", "train", "forward", "values"])
def test_a_head_with_a_word_of_torchs_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}'.*'{name}_head'"):
        build_heads({name: HEADS["two"]}, build().backbone, {name: 1})


def test_saved_and_loaded_answers_the_same_without_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    save_model(model, card(), tmp_path / "new")
    asked: list[bool] = []
    real = nets.create_net
    monkeypatch.setattr(nets, "create_net", lambda p, size, hub, top: (asked.append(hub), real(p, size, hub, top))[1])
    loaded, read = load_model(tmp_path / "new")
    assert asked == [False]
    assert read == card()
    assert not loaded.training
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["card.json", MANIFEST, WEIGHTS]
    for name, values in loaded(IMAGES).items():
        assert torch.equal(values, model(IMAGES)[name])


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save_model(build(), card(), tmp_path / folder)
    for name in (WEIGHTS, "card.json", MANIFEST):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_cards_normalisation_is_used(tmp_path: Path) -> None:
    save_model(build(), card(mean=(0.1, 0.2, 0.3)), tmp_path)
    assert load_model(tmp_path)[0].backbone.mean == (0.1, 0.2, 0.3)


def test_missing_weights_are_told(tmp_path: Path) -> None:
    save_model(build(), card(), tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ManifestError, match=f"missing: {WEIGHTS}"):
        load_model(tmp_path)
    write_manifest(tmp_path)
    with pytest.raises(ModelError, match=f"There is no .*{WEIGHTS}"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), b"", b"\xff" * 100])
def test_what_is_no_safetensors_is_told(tmp_path: Path, content: bytes) -> None:
    save_model(build(), card(), tmp_path)
    (tmp_path / WEIGHTS).write_bytes(content)
    write_manifest(tmp_path)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_model(tmp_path)


def test_half_a_file_is_told(tmp_path: Path) -> None:
    save_model(build(), card(), tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(ManifestError, match=f"changed: {WEIGHTS}"):
        load_model(tmp_path)
    write_manifest(tmp_path)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_model(tmp_path)


@pytest.mark.parametrize("fault", ["missing", "surplus", "shape"])
def test_weights_of_another_model_are_refused(tmp_path: Path, fault: str) -> None:
    save_model(build(), card(), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    name = "heads.two.1.weight"
    match fault:
        case "missing":
            del tensors[name]
        case "surplus":
            tensors["heads.three.1.weight"] = torch.ones(1)
        case _:
            tensors[name] = torch.ones(1, 7)
    save_file(tensors, tmp_path / WEIGHTS)
    write_manifest(tmp_path)
    with pytest.raises(ModelError, match=r"does not belong .* 1 tensors differ, such as heads\.t"):
        load_model(tmp_path)


def test_a_changed_byte_is_refused_with_the_files_name(tmp_path: Path) -> None:
    save_model(build(), card(), tmp_path)
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[-1] ^= 1  # of the last number: the file is still read well, and answers otherwise
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(ManifestError, match=f"changed: {WEIGHTS}"):
        load_model(tmp_path)


def test_a_card_that_says_something_else_is_refused(tmp_path: Path) -> None:
    save_model(build(), card(), tmp_path)
    write_json(tmp_path / "card.json", card(main_head="many").model_dump(mode="json"))
    with pytest.raises(ManifestError, match=r"changed: card\.json"):
        load_model(tmp_path)


def test_a_folder_without_manifest_is_not_complete(tmp_path: Path) -> None:
    save_model(build(), card(), tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(ModelError, match=f"has no {MANIFEST}"):
        load_model(tmp_path)


def test_a_model_from_before_manifests_is_read(tmp_path: Path) -> None:
    save_model(build(), card(format=3), tmp_path)
    (tmp_path / MANIFEST).unlink()
    assert load_model(tmp_path)[1].format == 3
