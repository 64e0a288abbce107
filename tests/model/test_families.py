"""Every family of backbones under every tap that it has, and a refusal for those that it has not."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from meltpoint.model import nets
from meltpoint.model.backbones import Backbone, build_backbone, tap_key
from meltpoint.model.model import build_heads
from meltpoint.model.nets import BackboneError
from meltpoint.params.heads import ConvHead, DenseConvHead, DenseLinearHead, DensePyramidHead, Head, LinearHead, MlpHead
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import GridTap, MapTap, RandomWeights, Reading, TokenTap

SHARED: dict[str, Any] = {
    "label": "x",
    "weight": 1.0,
    "class_weights": "none",
    "target": "nominal",
    "where": None,
    "threshold": None,
    "unknown": None,
    "main": False,
}
DENSE: dict[str, Any] = {"label": "x", "weight": 1.0, "class_weights": "none", "dice": 0.0, "main": False}
GRIDS = (GridTap(at=(-1,)), GridTap(at=(-2, -1)))


def build(family: Any, *taps: Reading) -> Backbone:
    weights = RandomWeights(kind="random")
    params = BackboneParams(name=family.name, args=family.args, weights=weights, mean=None, std=None)
    return build_backbone(params, set(taps), family.size)


def draw(family: Any, count: int = 2) -> Tensor:
    return torch.randn(count, 3, family.size, family.size, generator=torch.Generator().manual_seed(0))


def pools(family: Any) -> list[TokenTap]:
    """Each kind of token alone, and all of them in another order."""
    kinds = family.tokens
    return [TokenTap(at=-2, pool=(kind,)) for kind in kinds] + ([TokenTap(at=-2, pool=kinds[::-1])] if kinds else [])


def readings(family: Any) -> list[Reading]:
    maps = [MapTap(at=-1), MapTap(at=-2)] if family.convolution else []
    return ["final", -1, -2, *pools(family), *maps, *GRIDS]


def heads(family: Any) -> dict[str, Head]:
    """Each kind of head over each tap that it can read."""
    built: dict[str, Head] = {}
    for number, tap in enumerate(readings(family)):
        if isinstance(tap, MapTap):
            built[f"conv{number}"] = ConvHead(kind="conv", tap=tap.at, **SHARED)
        elif isinstance(tap, GridTap):
            built |= {f"{head.kind}{number}": head for head in dense_heads(tap)}
        else:
            built[f"linear{number}"] = LinearHead(kind="linear", tap=tap, **SHARED)
            built[f"mlp{number}"] = MlpHead(kind="mlp", tap=tap, hidden=3, dropout=0.0, **SHARED)
    return built


def dense_heads(tap: GridTap) -> list[Head]:
    return [
        DenseLinearHead(kind="dense_linear", taps=tap.at, **DENSE),
        DenseConvHead(kind="dense_conv", taps=tap.at, hidden=3, **DENSE),
        DensePyramidHead(kind="dense_pyramid", taps=tap.at, hidden=3, **DENSE),
    ]


def test_each_tap_gives_what_its_spec_says_alone_and_beside_all_others(family: Any) -> None:
    together, images = build(family, *readings(family)), draw(family)
    with torch.no_grad():
        features = together(images)
    assert {key: tuple(values.shape[1:]) for key, values in features.items()} == {
        key: spec.shape for key, spec in together.specs.items()
    }
    for tap in readings(family):
        alone = build(family, tap)
        with torch.no_grad():
            torch.testing.assert_close(alone(images)[tap_key(tap)], features[tap_key(tap)], atol=1e-5, rtol=1e-5)


def test_the_net_runs_once_for_all_taps(family: Any) -> None:
    backbone, runs = build(family, *readings(family)), []
    first = next(module for module in backbone.net.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        backbone(draw(family))
    assert runs == [1]


def test_a_gradient_reaches_every_parameter_that_was_kept(family: Any) -> None:
    taps = [tap for tap in readings(family) if tap != "final" and not isinstance(tap, MapTap)]
    backbone = build(family, *taps).train()
    total = torch.stack([values.square().mean() for values in backbone(draw(family)).values()]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


def test_every_kind_of_head_reads_every_tap_and_learns(family: Any) -> None:
    wanted, backbone = heads(family), build(family, *readings(family))
    modules = build_heads(wanted, backbone, dict.fromkeys(wanted, 2))
    with torch.no_grad():
        features = backbone(draw(family, 3))
    for name, head in wanted.items():
        output = modules[name](features[tap_key(head.reads)])
        pixels = (family.size, family.size) if isinstance(head.reads, GridTap) else ()
        assert output.shape == (3, 2, *pixels)
        output.square().mean().backward()
    assert [name for name, parameter in modules.named_parameters() if parameter.grad is None] == []


def test_parts_are_means_over_their_tokens_behind_the_last_norm(family: Any) -> None:
    taps = pools(family)
    backbone, images = build(family, "final", *taps), draw(family)
    if not taps:
        assert nets.count_tokens(backbone.net) == {}
        return
    with torch.no_grad():
        features, block = backbone(images), len(cast(Any, backbone.net).blocks) - 2
        raw: list[Tensor] = []
        handle = cast(Any, backbone.net).blocks[block].register_forward_hook(lambda *given: raw.append(given[-1]))
        backbone(images)
        handle.remove()
        tokens = cast(Any, backbone.net).norm(raw[0])
    counts = nets.count_tokens(backbone.net)
    cut = sum(counts.values())
    expected = {
        "class": tokens[:, : counts["class"]].mean(1),
        "registers": tokens[:, counts["class"] : cut].mean(1),
        "patches": tokens[:, cut:].mean(1),
    }
    for tap in taps:
        wanted = torch.cat([expected[kind] for kind in tap.pool], 1)
        torch.testing.assert_close(features[tap_key(tap)], wanted, atol=1e-5, rtol=1e-5)


def test_tokens_that_a_net_has_not_are_refused(family: Any) -> None:
    missing = [kind for kind in ("class", "patches", "registers") if kind not in family.tokens]
    for kind in missing:
        has = "Its blocks have class and" if family.tokens else "It has maps of cells; `tap: -1`"
        with pytest.raises(BackboneError, match=has) as caught:
            build(family, TokenTap.model_validate({"at": -1, "pool": ["patches", kind]}))
        assert kind in str(caught.value)


def test_grids_take_any_size_and_dense_heads_answer_for_each_of_its_pixels(family: Any) -> None:
    params, size = build(family, GRIDS[0]).params, family.size + 3
    backbone = build_backbone(params, GRIDS, size)
    assert backbone.padded == (size if family.near is None else family.near[1])
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    wanted = {head.kind: head for head in dense_heads(GRIDS[1])}
    modules = build_heads(wanted, backbone, dict.fromkeys(wanted, 2))
    features = backbone.train()(backbone.prepare(images))
    outputs = [modules[name](features[tap_key(head.reads)]) for name, head in wanted.items()]
    assert [tuple(output.shape) for output in outputs] == [(2, 2, size, size)] * 3
    torch.stack([output.square().mean() for output in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    learning = [*modules.named_parameters(), *backbone.named_parameters()]
    assert [name for name, parameter in learning if parameter.grad is None] == []


def test_a_map_without_a_convolution_is_refused(family: Any) -> None:
    if family.convolution:
        assert build(family, MapTap(at=-1)).copy_convolution(-1)[0].in_channels > 3
        return
    with pytest.raises(BackboneError, match="no convolution that takes the .* channels of tap -1.*linear or mlp"):
        build(family, MapTap(at=-1))


def test_threads_run_one_backbone_at_once(family: Any) -> None:
    taps = readings(family)
    backbone = build(family, *taps)
    batches = [draw(family, count) for count in (1, 2, 3, 1, 2, 3)]

    def run(images: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode():
            return cast(dict[str, Tensor], backbone(images))

    expected = [run(batch) for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run, batches))
    for one, other in zip(expected, found, strict=True):
        for key, values in one.items():
            torch.testing.assert_close(other[key], values)


def test_a_wrong_size_is_refused_with_right_ones(family: Any) -> None:
    params, wrong = build(family, "final").params, family.size + 3
    if family.near is None:
        assert build_backbone(params, {"final"}, wrong).size == wrong
        return
    below, above = family.near
    with pytest.raises(BackboneError, match=f"images of {wrong} pixels.*takes are {below} or {above};"):
        build_backbone(params, {"final"}, wrong)
    for size in family.near:
        build_backbone(params, {"final"}, size)
