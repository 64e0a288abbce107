import pytest
import torch
from torch import nn

from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.model.model import build_heads
from meltpoint.model.standardise import Standardise
from meltpoint.params.heads import ConvHead, Head, LinearHead, MlpHead
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import MapTap, RandomWeights
from meltpoint.train.stacked_heads import StackedHeads

TAPS = {"plain": "final", "deep": "-2", "own": "-1.map"}
OUTPUTS = {"plain": 3, "deep": 1, "own": 2}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    weights = RandomWeights(kind="random")
    params = BackboneParams(name="test_efficientnet", args={}, weights=weights, mean=None, std=None)
    return build_backbone(params, {"final", -2, MapTap(at=-1)}, 64)


@pytest.fixture
def heads(backbone: Backbone) -> nn.ModuleDict:
    params: dict[str, Head] = {
        "plain": LinearHead(kind="linear", label="x", tap="final"),
        "deep": MlpHead(kind="mlp", label="x", tap=-2, hidden=5),
        "own": ConvHead(kind="conv", label="x", tap=-1),
    }
    built = build_heads(params, backbone, OUTPUTS)
    for layer in built.modules():
        if isinstance(layer, Standardise):
            layer.fit(torch.randn(len(layer.mean)), torch.rand(len(layer.std)) + 0.5)
    return built


@pytest.fixture
def features(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {tap: torch.randn(7, *spec.shape) for tap, spec in backbone.specs.items()}


def test_stacked_heads_compute_what_their_heads_do(heads: nn.ModuleDict, features: dict[str, torch.Tensor]) -> None:
    stacked = StackedHeads(heads, TAPS, [0.0, 0.1, 1.0])
    with torch.no_grad():
        for parameter in stacked.parameters.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    outputs = stacked.outputs(features)
    assert {name: tuple(values.shape) for name, values in outputs.items()} == {
        name: (3, 7, count) for name, count in OUTPUTS.items()
    }
    for index in range(3):
        taken = stacked.take(dict.fromkeys(OUTPUTS, index))
        for name, head in taken.items():
            torch.testing.assert_close(head(features[TAPS[name]]), outputs[name][index], rtol=1e-4, atol=1e-4)


def test_each_head_takes_its_own_place_in_the_stack(heads: nn.ModuleDict) -> None:
    stacked = StackedHeads(heads, TAPS, [0.0, 0.1])
    with torch.no_grad():
        for parameter in stacked.parameters.values():
            parameter[1] = 7.0
    taken = stacked.take({"plain": 1, "deep": 0, "own": 1})
    assert all((value == 7).all() for value in taken["plain"].parameters())
    assert all(
        torch.equal(value, heads["deep"].state_dict()[name]) for name, value in taken["deep"].state_dict().items()
    )
    assert torch.equal(taken["plain"][0].mean, heads["plain"][0].mean)  # type: ignore[index]


def test_decay_shrinks_weights_alone_each_by_its_own(heads: nn.ModuleDict) -> None:
    stacked = StackedHeads(heads, TAPS, [0.0, 0.5])
    before = {name: value.detach().clone() for name, value in stacked.parameters.items()}
    stacked.decay(0.1)
    for name, value in stacked.parameters.items():
        factors = [1.0, 0.95] if name.endswith("weight") else [1.0, 1.0]
        assert all(torch.allclose(value[index], before[name][index] * factors[index]) for index in (0, 1))
