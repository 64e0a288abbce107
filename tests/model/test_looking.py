"""Where a network looked: attention as timm takes it out, Grad-CAM as its equations say."""

from typing import Any

import numpy as np
import pytest
import torch
from timm.utils.attention_extract import AttentionExtract

from meltpoint.model.looking import LookError, attention_map, gradient_map
from meltpoint.model.model import Model, build_model
from meltpoint.params.heads import LinearHead
from meltpoint.params.model import Backbone, RandomWeights


def build(name: str, size: int, tap: Any = "final", **args: Any) -> Model:
    params = Backbone(name=name, args=args, weights=RandomWeights(kind="random"), mean=[0.5] * 3, std=[0.5] * 3)
    head = LinearHead.model_validate({"kind": "linear", "label": "y", "main": True, "tap": tap})
    torch.manual_seed(0)
    return build_model(params, {"y": head}, {"y": 3}, size)


def image(size: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_attention_is_that_of_the_class_token_in_the_last_block() -> None:
    model, size = build("test_vit", 64), 64
    heat = attention_map(model, image(size))
    assert heat is not None
    assert heat.max() == 1
    assert all(block.attn.fused_attn for block in model.backbone.net.blocks)  # as it was  # type: ignore[union-attr]
    for block in model.backbone.net.blocks:  # type: ignore[union-attr]
        block.attn.fused_attn = False  # type: ignore[union-attr]
    pixels = model.backbone.prepare(torch.from_numpy(image(size))[None])
    with torch.no_grad():
        found = AttentionExtract(model.backbone.net, method="hook")(pixels)
    shares = list(found.values())[-1][0].mean(0)[0, 1:]  # (patches,)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    patch = int(row) // 16 * 4 + int(column) // 16
    assert patch == int(shares.argmax())


def test_grad_cam_of_a_linear_head_is_the_weighted_map() -> None:
    model = build("test_efficientnet", 64)
    heat = gradient_map(model, image(64), "y", lambda outputs: outputs[1])
    with torch.no_grad():
        last = model.backbone.net.forward_features(model.backbone.prepare(torch.from_numpy(image(64))[None]))  # type: ignore[operator]
    linear = model.heads["y"]
    weights = next(module for module in linear.modules() if isinstance(module, torch.nn.Linear)).weight[1]
    wanted = torch.einsum("c,chw->hw", weights.detach(), last[0]).relu()
    cells = torch.from_numpy(heat).view(2, 32, 2, 32).mean((1, 3))
    assert int(cells.argmax()) == int(wanted.argmax())
    assert attention_map(model, image(64)) is None


@pytest.mark.parametrize("tap", [-2, {"at": -1, "pool": ["class", "patches"]}])
def test_a_head_that_reads_a_stage_is_shown_on_that_stage(tap: Any) -> None:
    model = build("test_efficientnet" if isinstance(tap, int) else "test_vit", 64, tap)
    heat = gradient_map(model, image(64), "y", lambda outputs: outputs.sum())
    assert heat.shape == (64, 64)
    assert 0 <= heat.min() <= heat.max() <= 1


def test_a_net_without_a_map_says_so() -> None:
    model = build("crossvit_9_240", 240)
    with pytest.raises(LookError, match="crossvit_9_240"):
        gradient_map(model, image(240), "y", lambda outputs: outputs[0])
