import pytest
import torch
from torch import nn

from meltpoint.model.backbones import FeatureSpec
from meltpoint.model.model import build_heads
from meltpoint.model.standardise import Standardise
from meltpoint.params.model import LinearHead, MlpHead
from meltpoint.train.replicas import Replicas

SPECS = {"final": FeatureSpec(6, 32, None), "-2": FeatureSpec(4, 16, (2, 2))}
TAPS = {"plain": "final", "deep": "-2"}


@pytest.fixture
def heads() -> nn.ModuleDict:
    common = {"label": "x", "weight": 1.0, "class_weights": "none", "main": True}
    params = {
        "plain": LinearHead(kind="linear", tap="final", **common),
        "deep": MlpHead(kind="mlp", tap=-2, hidden=5, dropout=0.0, **common),
    }
    built = build_heads(params, SPECS, {"plain": 3, "deep": 1})
    for layer in built.modules():
        if isinstance(layer, Standardise):
            layer.fit(torch.randn(len(layer.mean)), torch.rand(len(layer.std)) + 0.5)
    return built


def features() -> dict[str, torch.Tensor]:
    return {tap: torch.randn(7, spec.channels) for tap, spec in SPECS.items()}


def test_replicas_compute_what_their_heads_do(heads: nn.ModuleDict) -> None:
    replicas = Replicas(heads, TAPS, [0.0, 0.1, 1.0])
    with torch.no_grad():
        for parameter in replicas.parameters.values():
            parameter.add_(torch.randn_like(parameter))
    given = features()
    outputs = replicas.outputs(given)
    assert outputs["plain"].shape == (3, 7, 3)
    assert outputs["deep"].shape == (3, 7, 1)
    for index in range(3):
        taken = replicas.take({"plain": index, "deep": index})
        for name, head in taken.items():
            assert torch.allclose(head(given[TAPS[name]]), outputs[name][index], atol=1e-5)


def test_each_head_takes_its_own_replica(heads: nn.ModuleDict) -> None:
    replicas = Replicas(heads, TAPS, [0.0, 0.1])
    with torch.no_grad():
        for parameter in replicas.parameters.values():
            parameter[1] = 7.0
    taken = replicas.take({"plain": 1, "deep": 0})
    assert all((value == 7).all() for value in taken["plain"].parameters())
    assert all(
        torch.equal(value, heads["deep"].state_dict()[name]) for name, value in taken["deep"].state_dict().items()
    )
    assert torch.equal(taken["plain"][0].mean, heads["plain"][0].mean)  # type: ignore[index]


def test_decay_shrinks_weights_alone_each_by_its_own(heads: nn.ModuleDict) -> None:
    replicas = Replicas(heads, TAPS, [0.0, 0.5])
    before = {name: value.detach().clone() for name, value in replicas.parameters.items()}
    replicas.decay(0.1)
    for name, value in replicas.parameters.items():
        factors = [1.0, 0.95] if name.endswith("weight") else [1.0, 1.0]
        assert all(torch.allclose(value[index], before[name][index] * factors[index]) for index in (0, 1))
