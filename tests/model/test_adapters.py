from typing import Any

import pytest
import torch
from torch import nn

from meltpoint.model.adapters import Adapted, AdapterError, LowRankConvolution, LowRankLinear, adapt, merge
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.params.model import Backbone as BackboneParams

NETS = ("test_efficientnet", "test_vit", "test_convnext", "test_byobnet", "test_resnet")


def build(name: str) -> Backbone:
    return build_backbone(BackboneParams.model_validate({"name": name, "weights": {"kind": "random"}}), {"final"}, 160)


def features(backbone: Backbone) -> torch.Tensor:
    images = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return backbone(backbone.prepare(images))["final"]


def fill(net: nn.Module, adapted: Adapted) -> None:
    """As if they had learnt: each change is a tenth as large as its weight."""
    torch.manual_seed(2)
    with torch.no_grad():
        for name in adapted.names:
            layer: Any = net.get_submodule(name)
            layer.up.normal_()
            change = layer.changed_weight() - layer.weight
            layer.up.mul_(0.1 * layer.weight.norm() / change.norm())


@pytest.mark.parametrize("name", NETS)
def test_it_begins_as_the_net_and_merged_it_ends_as_it_is(name: str) -> None:
    backbone = build(name)
    weights, before = {key: value.clone() for key, value in backbone.state_dict().items()}, features(backbone)
    adapted = adapt(backbone.net, 4, 8.0, "all", seed=3)
    assert torch.equal(features(backbone), before)
    fill(backbone.net, adapted)
    changed = features(backbone)
    assert not torch.equal(changed, before)
    merge(backbone.net)
    assert not any(isinstance(layer, LowRankLinear | LowRankConvolution) for layer in backbone.net.modules())
    assert float((features(backbone) - changed).abs().max()) <= 1e-5 * max(1.0, float(changed.abs().max()))
    after = backbone.state_dict()
    assert after.keys() == weights.keys()
    moved = {key for key, value in weights.items() if not torch.equal(value, after[key])}
    assert moved == {f"net.{layer}.weight" for layer in adapted.names}
    for key in moved:
        rank = torch.linalg.matrix_rank((after[key] - weights[key]).flatten(1).double(), rtol=1e-4)
        assert rank <= 4, key


def test_convolutions_that_are_no_matrix_products_are_told() -> None:
    backbone = build("test_efficientnet")
    adapted = adapt(backbone.net, 2, 2.0, "all", seed=0)
    for name in adapted.skipped:
        layer = backbone.net.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert layer.groups > 1 or layer.kernel_size != (1, 1)
    assert "conv_stem" in adapted.skipped


def test_words_choose_layers_by_name() -> None:
    attention = adapt(build("test_vit").net, 2, 2.0, ["attn.qkv", "attn.proj"], seed=0)
    assert {name.partition(".attn.")[2] for name in attention.names} == {"qkv", "proj"}
    assert attention.skipped == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("test_vit", r"\['attention'\].*blocks\.\*\.attn\.qkv \(6\)"), ("test_efficientnet", r"blocks\.\*\.\*\.conv_pw")],
)
def test_words_that_fit_no_layer_are_refused_with_what_there_is(name: str, told: str) -> None:
    with pytest.raises(AdapterError, match=told):
        adapt(build(name).net, 2, 2.0, ["attention"], seed=0)


def test_the_same_seed_gives_the_same_noise() -> None:
    nets = [build("test_vit").net for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        adapt(net, 2, 2.0, "all", seed)
    first, second, other = (net.get_parameter("blocks.0.attn.qkv.down") for net in nets)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
