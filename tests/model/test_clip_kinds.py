"""Every kind of model that open_clip lists, tiny: images and texts as open_clip's own, from a file of its tensors."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from saved_models import make_card
from text_folder import write_text_folder

from meltpoint.model.backbones import build_backbone
from meltpoint.model.library import open_text
from meltpoint.model.model import build_model, load_model, save_model
from meltpoint.model.nets import BackboneError
from meltpoint.model.text_vectors import TextError, embed_texts
from meltpoint.model.weights import WeightsError
from meltpoint.params.heads import CosineHead
from meltpoint.params.model import Backbone

SIZE = 64
VISION: dict[str, Any] = {"layers": 2, "width": 64, "patch_size": 16, "image_size": SIZE}
TRUNK = {"timm_model_name": "test_convnext", "timm_pool": ""}
TEXT: dict[str, Any] = {"layers": 1, "width": 64, "heads": 2, "context_length": 77, "vocab_size": 49408}
LETTERS = {**TEXT, "vocab_size": 100, "context_length": 40, "no_causal_mask": True}  # of the folder's tokenizer
DECODER = {"layers": 1, "width": 32, "heads": 2, "context_length": 76, "vocab_size": 100}
KINDS: dict[str, dict[str, Any]] = {
    "tiny-layer-scale": {"vision_cfg": {**VISION, "ls_init_value": 0.1}, "text_cfg": TEXT},
    "tiny-coca": {
        "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        "text_cfg": {**TEXT, "embed_cls": True, "context_length": 76, "output_tokens": True},
        "multimodal_cfg": DECODER, "custom_text": True,
    },
    "tiny-clipa": {
        "vision_cfg": {**VISION, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        "text_cfg": {
            **LETTERS, "hf_tokenizer_name": "TEXT", "pool_type": "last", "tokenizer_kwargs": {"strip_sep_token": True},
        },
    },
    "tiny-linear": {"vision_cfg": {**TRUNK, "timm_proj": "linear"}, "text_cfg": TEXT},
    "tiny-mlp": {"vision_cfg": {**TRUNK, "timm_proj": "mlp"}, "text_cfg": TEXT},
    "tiny-token": {
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None, "image_size": 160},
        "text_cfg": {**TEXT, "no_causal_mask": True}, "custom_text": True,
    },
    "tiny-siglip": {
        "vision_cfg": {"timm_model_name": "test_vit2", "timm_pool": "avg", "timm_proj": "none", "image_size": 160},
        "text_cfg": {
            **LETTERS, "hf_tokenizer_name": "TEXT", "tokenizer_kwargs": {"clean": "canonicalize"}, "proj_bias": True,
            "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
        },
        "embed_dim": 64, "init_logit_bias": -10, "custom_text": True,
    },
    "tiny-bert": {
        "vision_cfg": VISION,
        "text_cfg": {
            "hf_model_name": "TEXT", "hf_tokenizer_name": "TEXT", "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "mlp",
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configs, which open_clip then knows, and with a tokenizer and config of transformers."""
    folder = tmp_path_factory.mktemp("clip_kinds")
    write_text_folder(folder / "text")
    (folder / "configs").mkdir()
    for name, config in KINDS.items():
        text = json.dumps({"embed_dim": 32, **config}).replace('"TEXT"', json.dumps(str(folder / "text")))
        (folder / "configs" / f"{name}.json").write_text(text)
    open_clip.add_model_config(folder / "configs")
    return folder


def save(model: torch.nn.Module, path: Path, name: str, **more: Any) -> Backbone:
    """Params of the model in a file."""
    save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, path)
    weights = {"kind": "file", "path": str(path), "match": "name", "licence": "MIT"}
    return Backbone.model_validate({"library": "open_clip", "name": name, "weights": weights, **more})


def shake(model: torch.nn.Module) -> torch.nn.Module:
    """No bias is 0 and no scale 1, as after a training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("name", KINDS)
def test_images_and_texts_are_those_of_open_clip(name: str, house: Path) -> None:
    model: Any = shake(open_clip.create_model(name, pretrained=None, pretrained_text=False))
    text = {"text": {"folder": str(house / "text")}} if "hf_tokenizer_name" in KINDS[name]["text_cfg"] else {}
    params = save(model, house / f"{name}.safetensors", name, **text)
    size = KINDS[name]["vision_cfg"].get("image_size", SIZE)
    backbone, images = build_backbone(params, {"final", -1}, size), torch.randn(2, 3, size, size)
    texts = ["a cup", "red cars, 2 of them"]
    encoder = open_text(params)
    with torch.no_grad():
        expected, words = model.encode_image(images), model.encode_text(open_clip.get_tokenizer(name)(texts))
        given = backbone(images)
    if name == "tiny-coca":  # which makes them of length 1 itself
        given["final"] = torch.nn.functional.normalize(given["final"], dim=1)
    torch.testing.assert_close(given["final"], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        embed_texts(encoder, texts), torch.nn.functional.normalize(words, dim=1), rtol=0, atol=1e-5
    )


def test_a_resnet_with_attention_is_that_of_open_clip_and_comes_back_from_its_folder(tmp_path: Path) -> None:
    vision = {"layers": [3, 4, 6, 3], "width": 8, "image_size": SIZE}
    model = shake(open_clip.CLIP(32, vision, {**TEXT, "heads": 1}))
    params = save(model, tmp_path / "a.safetensors", "RN50", args={"embed_dim": 32, "width_factor": 0.125})
    head = CosineHead(kind="cosine", label="thing", main=True)
    made = build_model(params, {"thing": head}, {"thing": 3}, SIZE)
    pixels = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.encode_image(made.backbone.prepare(pixels))
        torch.testing.assert_close(made.features(pixels)["final"], expected, rtol=1e-5, atol=1e-5)
    assert made.backbone.mean == open_clip.OPENAI_DATASET_MEAN
    card = make_card({"thing": head}, {"thing": ["a", "b", "c"]})
    facts = {
        **card.model_dump(), "backbone": made.backbone.params.model_dump(), "mean": made.backbone.mean,
        "std": made.backbone.std, "images": {**card.images.model_dump(), "side": SIZE},
    }  # fmt: skip
    save_model(made, type(card).model_validate(facts), tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "model")[0](pixels), made(pixels))
    larger = build_backbone(params, {"final"}, 96)  # its positions are resized
    assert larger(torch.zeros(1, 3, 96, 96))["final"].shape == (1, 32)


def test_what_does_not_fit_is_said(house: Path) -> None:
    model = open_clip.create_model("tiny-linear", pretrained=None)
    params = save(model, house / "linear.safetensors", "tiny-linear")
    with pytest.raises(WeightsError, match="has a projection `visual.head.mlp`"):
        build_backbone(params.model_copy(update={"name": "tiny-mlp"}), {"final"}, SIZE)
    with pytest.raises(BackboneError, match="are none of"):
        build_backbone(params.model_copy(update={"args": {"width": 3}}), {"final"}, SIZE)
    with pytest.raises(TextError, match="cannot be made"):
        open_text(
            Backbone.model_validate({**params.model_dump(), "name": "tiny-siglip", "text": {"folder": str(house)}})
        )
    with pytest.raises(BackboneError, match="brings its own tokenizer"):
        open_text(Backbone.model_validate({**params.model_dump(), "text": {"folder": str(house)}}))
    with pytest.raises(TextError, match="does not hold the text side of tiny-token: .*'text_projection'"):
        changed = model.state_dict() | {"text_projection": torch.zeros(3, 3)}
        save_file({name: value.contiguous() for name, value in changed.items()}, house / "linear.safetensors")
        open_text(params.model_copy(update={"name": "tiny-token"}))
