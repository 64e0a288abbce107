"""Formats of other runtimes: a small LiteRT file opens and answers, and what is missing is named with its command."""

import json
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from saved_models import SIZE, plain_card, save, scene_card
from torch import nn

import meltpoint
from meltpoint.errors import UserError
from meltpoint.export import litert
from meltpoint.export.folder import training_views
from meltpoint.export.graph import build_graph
from meltpoint.export.onnx_qat import divergence
from meltpoint.export.runtimes import trace_one
from meltpoint.export.torch_export import check_unpickled
from meltpoint.model.manifest import ManifestError
from meltpoint.params.exports import Exports
from meltpoint.params.heads import DenseLinearHead
from meltpoint.params.read import ParamsError, parse_params
from meltpoint.params.yaml12 import load
from meltpoint.tasks.contract import load_objective

if TYPE_CHECKING:
    from meltpoint.images.views import Views

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
SETTINGS: dict[str, dict[str, Any]] = {
    "onnx_qat": {"epochs": 1, "lr": 1e-5},
    "litert": {"precision": "int8", "images": 64},
    "executorch": {},
    "openvino": {},
}
NEEDS = {"onnx_qat": "torchao", "litert": "ai_edge_litert", "executorch": "executorch", "openvino": "openvino"}
EXTRAS = {"onnx_qat": "qat"}  # others are called as their format


def test_a_litert_file_opens_and_answers_as_its_model() -> None:
    pytest.importorskip("ai_edge_litert")
    images = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)
    said = meltpoint.load(HERE / "litert").probabilities(images)
    wanted = json.loads((HERE / "answers.json").read_text())
    assert list(said) == list(wanted)
    for head, own in said.items():
        np.testing.assert_allclose(own, wanted[head], atol=0.1)
        assert len({tuple(row) for row in own.tolist()}) == len(images)  # no head says the same of all


def test_a_damaged_litert_file_is_refused(tmp_path: Path) -> None:
    shutil.copytree(HERE / "litert", tmp_path / "litert")
    (tmp_path / "litert" / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(ManifestError, match=r"model\.tflite"):
        meltpoint.load(tmp_path / "litert")
    pytest.importorskip("ai_edge_litert")
    settings = Exports.model_validate({"litert": SETTINGS["litert"]}).litert
    assert settings
    with pytest.raises(UserError, match="cannot be run by LiteRT"):
        litert.open_forward(tmp_path / "litert", plain_card(), settings)


@pytest.mark.parametrize("name", NEEDS)
def test_a_missing_package_is_named_with_its_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [own for own in sys.modules if own.split(".")[0] == NEEDS[name]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, NEEDS[name], None)
    module, settings = import_module(f"meltpoint.export.{name}"), Exports.model_validate({name: SETTINGS[name]})
    with pytest.raises(UserError, match=rf"{NEEDS[name]}.*pip install -e '\.\[{EXTRAS.get(name, name)}\]'"):
        if name == "onnx_qat":  # which needs it only to be written
            module.write(nn.Identity(), plain_card(), tmp_path, settings.asked[name], nothing)
        module.open_forward(tmp_path, plain_card(), settings.asked[name])


def test_a_missing_converter_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert, "CONVERTER", tmp_path / "litert" / "bin" / "python")
    settings = Exports.model_validate({"litert": {"precision": "float32"}}).litert
    assert settings
    with pytest.raises(UserError, match="make litert"):
        litert.write(nn.Identity(), plain_card(), tmp_path, settings, nothing)


def test_what_the_converter_is_given_holds_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept.pt2"
    converter = tmp_path / "python"
    converter.write_text(f'#!/bin/sh\ncp "$4" {kept}\necho "a word" >&2\nexit 1\n')  # -I -c CONVERT archive
    converter.chmod(0o700)
    monkeypatch.setattr(litert, "CONVERTER", converter)
    graph, card = build_graph(save(plain_card(), tmp_path / "s"), load_objective("classification").decode)
    settings = Exports.model_validate({"litert": {"precision": "float32"}}).litert
    assert settings
    with pytest.raises(UserError, match=r"cannot be written as LiteRT: a word\. Remove export\.litert"):
        litert.write(graph, card, tmp_path, settings, nothing)
    check_unpickled(kept)


def nothing() -> Iterator["np.ndarray[Any, np.dtype[np.uint8]]"]:
    return iter(())


@pytest.mark.parametrize(
    "settings", [{"precision": "int8"}, {"precision": "int16", "images": 0}, {"precision": "float32", "images": 8}]
)
def test_ranges_come_from_images_where_there_are_ranges(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="int8 and int16 learn ranges from images"):
        Exports.model_validate({"litert": settings})


class Chooser(nn.Module):
    """A network that looks at its numbers to decide what to do next, which no graph can express."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Means or maxima of colours."""
        seen = images.float()
        return (seen.mean((1, 2)) if seen.sum() > 0 else seen.amax((1, 2)),) * 2


@pytest.mark.parametrize(("name", "said"), [("onnx", "as ONNX"), ("torch_export", r"by torch\.export")])
def test_a_network_that_a_format_cannot_express_is_told(name: str, said: str, tmp_path: Path) -> None:
    module, settings = import_module(f"meltpoint.export.{name}"), Exports.model_validate({name: {}})
    with pytest.raises(UserError, match=rf"'s' cannot be written {said}: Could not guard on .*Remove export\.{name}"):
        module.write(Chooser().eval(), plain_card(), tmp_path, settings.asked[name], nothing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"onyx": {}}, r"export\.onyx: unknown key\. Did you mean 'onnx'\?"),
        ({"onnx": {"half": True}}, r"export\.onnx\.half: unknown key\. It is a key of export\.openvino\.$"),
        (
            {"onnx": {"images": 9}},
            r"export\.onnx\.images: unknown key\. It is a key of export\.onnx_int8, export\.litert\.$",
        ),
        ({"openvino": {"haf": True}}, r"export\.openvino\.haf: unknown key\. Did you mean 'half'\?$"),
        ({"onnx": None}, r"export\.onnx: nothing is written there; write \{\}"),
        ({"onnx": True}, r"export\.onnx: True is written there; write \{\}"),
        (["onnx"], r"export: formats with their settings are wanted, as \{onnx: \{\}\}, and got \['onnx'\]"),
        ({"onnx": {"resize": "maybe"}}, r"export\.onnx\.resize: .*boolean.*got 'maybe'"),
    ],
)
def test_rows_that_are_none_are_told(rows: Any, said: str) -> None:
    raw = load((ROOT / "presets" / "elpv.yaml").read_text())
    with pytest.raises(ParamsError, match=said):
        parse_params(raw | {"export": rows}, "params.yaml")


def test_what_depends_on_no_image_is_calculated_before_it_is_traced(tmp_path: Path) -> None:
    facts = {"kind": "dense_linear", "label": "scene", "taps": [1, -1], "weight": 1.0, "class_weights": "none",
             "dice": 0.0, "main": True}  # fmt: skip
    head = scene_card().heads["scene"].model_copy(update={"head": DenseLinearHead.model_validate(facts)})
    graph, card = build_graph(
        save(scene_card(heads={"scene": head}), tmp_path / "s"), load_objective("segmentation").decode
    )
    program, images = trace_one(graph, card), torch.randint(0, 256, (1, SIZE, SIZE, 3), dtype=torch.uint8)
    bare = [one.name for one in program.graph.nodes if one.op == "call_function" and not one.all_input_nodes]
    assert bare == [], "LiteRT cannot make the weights that scale maps up"
    assert torch.equal(program.module()(images)[0], graph(images)[0])


def test_large_views_come_few_at_once() -> None:
    for side, batches in ((32, [3]), (600, [1, 1, 1])):
        plain = np.zeros((3, side, side, 3), np.uint8)
        views = cast("Views", SimpleNamespace(plain=plain, size=side, rows=lambda _: np.arange(3)))
        assert [len(batch) for batch in training_views(views)] == batches


def test_a_format_of_one_size_does_not_resize() -> None:
    for name in ("litert", "executorch"):
        with pytest.raises(ValueError, match=r"files of this format take images of one size.*take onnx"):
            Exports.model_validate({name: SETTINGS[name] | {"resize": True}})


def test_equal_answers_do_not_differ() -> None:
    some = torch.tensor([[0.0, 1.0], [0.3, 0.7]])
    assert divergence(some, some) == 0
    assert divergence(torch.tensor([[0.1, 0.9], [0.3, 0.7]]), some) > 0


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        (["defective", "form"], "not in heads"),
        (["wafer"], r"\['defective'\] are missing"),
        ([], "at least 1"),
    ],
)
def test_a_strategy_has_heads_that_exist_and_the_main_one(heads: list[str], said: str) -> None:
    raw = load((ROOT / "presets" / "elpv.yaml").read_text())
    raw["strategies"]["frozen"]["heads"] = ["defective", "wafer"]
    assert list(parse_params(raw, "params.yaml").recipe("frozen").heads) == ["defective", "wafer"]
    raw["strategies"]["frozen"]["heads"] = heads
    with pytest.raises(ParamsError, match=said):
        parse_params(raw, "params.yaml")
