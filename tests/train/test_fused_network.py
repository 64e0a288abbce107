from typing import Any

import pytest
import torch

from meltpoint.model.adapters import LowRankConvolution, adapt
from meltpoint.model.backbones import build_backbone
from meltpoint.model.model import Model, build_heads, build_model
from meltpoint.params.heads import DenseConvHead
from meltpoint.params.strategies import FinetuneStrategy
from meltpoint.train import fused_network as module
from meltpoint.train.fused_network import FusedNetwork
from meltpoint.train.strategies.finetune import unfreeze
from meltpoint.train.tuning import let_learn


@pytest.fixture
def model(scene: Any) -> Model:
    params = scene.params()
    torch.manual_seed(1)
    return build_model(params.encoders["lite0"], params.heads, {"shade": 1, "colour": 3}, 32).train()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8)


def gradients(network: torch.nn.Module, model: Model, images: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.stack([output.square().sum() for output in network(images).values()]).sum().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_outputs_and_gradients_are_those_of_the_model(model: Model, images: torch.Tensor) -> None:
    folded = FusedNetwork(model).train()
    assert len(folded.pairs) > 5
    own, other = model(images), folded(images)
    assert all(torch.allclose(own[head], other[head], rtol=1e-4, atol=1e-4) for head in own)
    wanted, found = gradients(model, model, images), gradients(folded, model, images)
    assert wanted.keys() == found.keys() == dict(model.named_parameters()).keys()
    for name, value in wanted.items():
        assert torch.allclose(value, found[name], rtol=1e-2, atol=1e-4 * float(value.abs().max() + 1)), name


def test_a_head_over_grids_is_folded_too(scene: Any, images: torch.Tensor) -> None:
    head = DenseConvHead(
        kind="dense_conv", label="x", taps=(1, -1), hidden=4, weight=1.0, class_weights="none", dice=0.0, main=True
    )
    backbone = build_backbone(scene.recipe().encoder, {head.reads}, 32)
    model = Model(backbone, build_heads({"x": head}, backbone, {"x": 3}), {"x": head.reads}).train()
    folded = FusedNetwork(model).train()
    assert len(folded.pairs) > 5
    own, other = model(images)["x"], folded(images)["x"]
    assert own.shape == (6, 3, 32, 32)
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
    wanted, found = gradients(model, model, images), gradients(folded, model, images)
    assert wanted.keys() == found.keys() == dict(model.named_parameters()).keys()
    for name, value in wanted.items():
        assert torch.allclose(value, found[name], rtol=1e-2, atol=1e-4 * float(value.abs().max() + 1)), name


def test_parts_change_nothing(model: Model, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    folded = FusedNetwork(model).train()
    whole = gradients(folded, model, images)
    monkeypatch.setattr(module, "PIXELS_PER_THREAD", 2 * 32 * 32)
    parts = gradients(folded, model, images)
    assert all(torch.allclose(value, parts[name], rtol=1e-3, atol=1e-4) for name, value in whole.items())


def test_it_owns_no_weights_but_the_models(model: Model) -> None:
    folded = FusedNetwork(model)
    assert [name.removeprefix("model.") for name, _ in folded.named_parameters()] == [
        n for n, _ in model.named_parameters()
    ]
    assert all(not parameter.is_meta for parameter in folded.parameters())


def test_a_model_that_cannot_be_folded_runs_as_it_is(
    model: Model, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    folded = FusedNetwork(model)
    assert folded.pairs == []
    assert all(torch.equal(value, model(images)[head]) for head, value in folded(images).items())


def test_nothing_is_kept_below_what_learns(scene: Any, model: Model, images: torch.Tensor) -> None:
    strategy = scene.params().strategies["finetune"]
    assert isinstance(strategy, FinetuneStrategy)
    scales = unfreeze(model, strategy.model_copy(update={"unfreeze": 1}))
    folded = FusedNetwork(model).train()
    assert set(gradients(folded, model, images)) == set(scales)
    first = next(name for name in scales if name.startswith("backbone"))
    kept: list[bool] = []
    stem = folded.skeleton[0].backbone.net.get_submodule("conv_stem")
    stem.register_forward_hook(lambda layer, given, output: kept.append(output.requires_grad))
    folded(images)
    assert "conv_stem" not in first
    assert kept == [False]


def test_adapters_are_folded_with_the_convolution_that_they_change(model: Model, images: torch.Tensor) -> None:
    adapted = adapt(model.backbone.net, 2, 4.0, "all", seed=0)
    for name in adapted.names:
        torch.nn.init.normal_(model.backbone.net.get_parameter(f"{name}.up"), std=0.05)
    learning = let_learn(model, [f"backbone.net.{name}.{part}" for name in adapted.names for part in ("down", "up")])
    folded = FusedNetwork(model).train()
    low_rank = [convolution for _, convolution, _ in folded.pairs if isinstance(convolution, LowRankConvolution)]
    assert len(low_rank) > 2
    own, other = model(images), folded(images)
    assert all(torch.allclose(own[head], other[head], rtol=1e-4, atol=1e-4) for head in own)
    wanted, found = gradients(model, model, images), gradients(folded, model, images)
    assert wanted.keys() == found.keys() == learning
    for name, value in wanted.items():
        assert torch.allclose(value, found[name], rtol=1e-2, atol=1e-4 * float(value.abs().max() + 1)), name
