import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.model.fuse import find_pairs, fuse, make_example
from meltpoint.model.model import Model, build_heads
from meltpoint.params.heads import LinearHead
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import RandomWeights

FOLDED = ["test_byobnet", "test_efficientnet", "test_resnet", "tf_efficientnet_lite0"]


def build(name: str, **args: Any) -> Backbone:
    """A backbone whose BatchNorm does something: random weights alone leave it an identity."""
    params = BackboneParams(name=name, args=args, weights=RandomWeights(kind="random"), mean=None, std=None)
    backbone = build_backbone(params, {"final", -2}, 64)
    noise = torch.Generator().manual_seed(0)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                assert tensor is not None
                tensor.normal_(0, 0.2, generator=noise)
            for tensor in (module.running_var, module.weight.data):
                assert tensor is not None
                tensor.uniform_(0.5, 1.5, generator=noise)
    return backbone


def norms(module: nn.Module) -> int:
    return sum(isinstance(child, nn.BatchNorm2d) for child in module.modules())


def check_equal(backbone: nn.Module, fused: nn.Module) -> None:
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        before, after = backbone(images), fused(images)
    for key, values in before.items():
        torch.testing.assert_close(after[key], values, atol=1e-5 * float(values.abs().max()), rtol=1e-5)


@pytest.mark.parametrize("name", FOLDED)
def test_every_batch_norm_is_folded_and_features_stay(name: str) -> None:
    backbone = build(name)
    assert norms(backbone)
    fused = fuse(backbone)
    assert norms(fused) == 0
    check_equal(backbone, fused)


@pytest.mark.parametrize("name", ["test_coatnet", "test_convnext", "test_nfnet", "test_vit", "test_efficientnet_evos"])
def test_other_nets_keep_their_features(name: str) -> None:
    backbone = build(name)
    check_equal(backbone, fuse(backbone))


def test_the_original_is_left_alone() -> None:
    backbone = build("test_efficientnet").train()
    before = copy.deepcopy(backbone.state_dict())
    fused = fuse(backbone)
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert not fused.training
    assert not any(parameter.requires_grad for parameter in fused.parameters())


def test_the_copy_can_be_copied_and_moved() -> None:
    fused = copy.deepcopy(fuse(build("test_efficientnet"))).to(torch.float64)
    assert fused.net(torch.zeros(1, 3, 64, 64, dtype=torch.float64)).dtype == torch.float64


class Forked(nn.Module):
    """The convolution's output is read twice: by the norm, and past it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.feature_info, self.pretrained_cfg = net, net.feature_info, net.pretrained_cfg
        self.convolution, self.norm = nn.Conv2d(3, 256, 3), nn.BatchNorm2d(256)
        nn.init.constant_(self.norm.weight, 3)

    def forward_intermediates(self, images: Tensor, indices: list[int]) -> tuple[Tensor, list[Tensor]]:
        last, maps = self.net.forward_intermediates(images, indices=indices)  # type: ignore[operator]
        past = self.convolution(images)
        return last + (past + self.norm(past)).mean((2, 3), keepdim=True), maps

    def forward_head(self, last: Tensor, pre_logits: bool) -> Tensor:
        return self.net.forward_head(last, pre_logits=pre_logits)  # type: ignore[operator,no-any-return]


def test_a_net_that_would_change_is_left_unfolded() -> None:
    backbone = build("test_efficientnet")
    backbone.net = Forked(backbone.net).eval()
    pairs = find_pairs(backbone, make_example(backbone))
    assert ("convolution", "norm") in pairs
    fused = fuse(backbone)
    assert norms(fused) == norms(backbone)
    check_equal(backbone, fused)


def test_a_norm_that_stores_nothing_is_no_partner() -> None:
    backbone = build("test_efficientnet")
    backbone.net.bn1 = nn.BatchNorm2d(backbone.net.bn1.num_features, track_running_stats=False)  # type: ignore[union-attr,arg-type]
    assert "bn1" not in dict(map(reversed, find_pairs(backbone, make_example(backbone))))  # type: ignore[call-overload]


def test_a_model_is_fused_with_its_heads_kept() -> None:
    backbone = build("test_efficientnet")
    head = LinearHead(kind="linear", label="a", main=True)
    model = Model(backbone, build_heads({"a": head}, backbone, {"a": 3}), {"a": "final"}).eval()
    fused = fuse(model)
    assert norms(fused) == 0
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    torch.testing.assert_close(fused(images)["a"], model(images)["a"], atol=1e-4, rtol=1e-4)
