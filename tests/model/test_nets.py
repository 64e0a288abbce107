import re
from inspect import getsource, signature
from typing import Any

import pytest
import timm
import torch
from timm.models._builder import _update_default_model_kwargs, build_model_with_cfg, load_pretrained

from meltpoint.model.backbones import build_backbone
from meltpoint.model.nets import BackboneError, count_stages, create_net, group_by_depth, pre_logits, prune_net, run_net
from meltpoint.model.weights import WeightsError
from meltpoint.params.checks import BYPASSING
from meltpoint.params.model import Backbone, RandomWeights

FAMILIES = {  # a tiny model of each family, and a size it takes
    "test_byobnet": 64,
    "test_coatnet": 64,
    "test_convnext": 64,
    "test_convnext2": 64,
    "test_efficientnet": 64,
    "test_efficientnet_ln": 64,
    "test_mambaout": 64,
    "test_maxvit": 64,
    "test_nfnet": 64,
    "test_resnet": 64,
    "test_vit": 64,
    "test_vit3": 64,
    "test_vit_relpos": 64,
}


def params(name: str, **args: Any) -> Backbone:
    return Backbone(name=name, args=args, weights=RandomWeights(kind="random"), mean=None, std=None)


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_what_comes_after_the_last_tap_is_pruned_and_all_that_is_left_learns(name: str, size: int) -> None:
    net = create_net(params(name), size, from_hub=False)
    index, images = count_stages(net) - 2, torch.randn(2, 3, size, size)
    before = run_net(net, images, [index], whole=False)[1][0].cells
    count = sum(parameter.numel() for parameter in net.parameters())
    prune_net(net, [index])
    after = run_net(net, images, [index], whole=False)[1][0].cells
    torch.testing.assert_close(after, before)
    after.square().mean().backward()
    assert [key for key, parameter in net.named_parameters() if parameter.grad is None] == []
    assert sum(parameter.numel() for parameter in net.parameters()) < count
    grouped = [key for names in group_by_depth(net) for key in names]
    assert sorted(grouped) == sorted(key for key, _ in net.named_parameters())


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_running_whole_is_timms_own_forward(name: str, size: int) -> None:
    net, images = create_net(params(name), size, from_hub=False), torch.randn(2, 3, size, size)
    with torch.inference_mode():
        for indices in ([], [0, count_stages(net) - 1]):
            last, maps = run_net(net, images, indices, whole=True)
            assert len(maps) == len(indices)
            torch.testing.assert_close(pre_logits(net, last), net(images))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet81", "resnet"),
        ("tf_efficientnet_lit0", "tf_efficientnet_lite0"),
        ("vit_tiny_patch16_224.augreg", "augreg_in21k"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, near: str) -> None:
    with pytest.raises(BackboneError, match=f"no model '{name}'.*Did you mean .*{near}"):
        create_net(params(name), 64, from_hub=False)


@pytest.mark.parametrize("name", ["timm/test_resnet", "hf-hub:timm/test_resnet.r160_in1k", "hf_hub:timm/test_resnet"])
def test_names_as_hubs_write_them_are_the_plain_ones(name: str) -> None:
    net = create_net(params(name), 64, from_hub=False)
    assert type(net) is type(create_net(params("test_resnet"), 64, from_hub=False))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf-hub:someone/something", "of another owner than timm"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", r"near: .*vit_base_patch32_clip_224\.laion2b"),
        ("naver-ai/rdnet_tiny.nv_in1k", "Write that name: rdnet_tiny.nv_in1k"),
        ("hf_hub:naver-ai/rdnet_small.nv_in1k", "is the repository of timm's rdnet_small"),
        ("../evil", "of another owner than timm"),
        ("local-dir:here", "no model 'local-dir:here'"),
    ],
)
def test_other_repositories_are_refused_with_timms_names(name: str, told: str) -> None:
    with pytest.raises(BackboneError, match=told):
        create_net(params(name), 64, from_hub=False)


def test_a_name_with_a_known_tag_is_taken() -> None:
    assert count_stages(create_net(params("test_resnet.r160_in1k"), 64, from_hub=False)) == 5


@pytest.mark.parametrize("key", sorted(BYPASSING))
def test_arguments_that_other_params_decide_are_refused(key: str) -> None:
    with pytest.raises(BackboneError, match=f"args.{key}: "):
        build_backbone(params("test_resnet", **{key: 1}), {"final"}, 64)


def test_every_argument_of_timms_own_calls_is_one_of_those() -> None:
    """What a net's class takes beyond them is the net's own; a new argument of these calls has to be thought about."""
    own = {"model_name", "model_cls", "variant", "kwargs"}
    for call in (timm.create_model, build_model_with_cfg, load_pretrained):
        wanted = set(signature(call).parameters) - own - {"model", "filter_fn", "strict"}
        assert wanted <= set(BYPASSING), call
    assert set(filled_in()) <= set(BYPASSING)


def filled_in() -> tuple[str, ...]:
    """What timm fills in from the description of weights, where nobody says otherwise."""
    found: list[tuple[str, ...]] = re.findall(
        r"default_kwarg_names = \('(\w+)', '(\w+)', '(\w+)'\)", getsource(_update_default_model_kwargs)
    )
    return found[0]


@pytest.mark.parametrize(("name", "size"), [("pvt_v2_b0", 256), ("mvitv2_tiny", 224), ("twins_pcpvt_small", 224)])
def test_patches_that_overlap_are_counted_by_their_stride(name: str, size: int) -> None:
    with torch.device("meta"):
        assert count_stages(create_net(params(name), size, from_hub=False))


@pytest.mark.parametrize("args", [{"act_layer": "wibble"}, {"norm_layer": "wibble"}, {"output_stride": 3}])
def test_a_wrong_argument_is_not_blamed_on_the_size(args: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match="the size is not the reason") as caught:
        create_net(params("test_resnet", **args), 64, from_hub=False)
    assert str(next(iter(args.values()))) in str(caught.value)


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(BackboneError, match="wibble"):
        create_net(params("test_vit", wibble=1), 64, from_hub=False)


@pytest.mark.parametrize("size", [70, 90])
def test_a_wrong_size_names_the_nearest_right_ones(size: int) -> None:
    with pytest.raises(BackboneError, match=f"images of {size} pixels") as caught:
        create_net(params("test_vit"), size, from_hub=False)
    below, above = map(int, re.findall(r"takes are (\d+) or (\d+);", str(caught.value))[0])
    assert (below, above) == (size // 16 * 16, size // 16 * 16 + 16)
    create_net(params("test_vit"), below, from_hub=False)
    create_net(params("test_vit"), above, from_hub=False)


def test_a_vit_that_pads_takes_any_size() -> None:
    net = create_net(params("test_vit", dynamic_img_size=True, dynamic_img_pad=True), 70, from_hub=False)
    assert run_net(net, torch.zeros(1, 3, 70, 70), [0], whole=False)[1][0].cells.shape == (1, 64, 5, 5)


MAKE = timm.create_model


def answer(name: str, pretrained: bool = False, **options: Any) -> Any:
    """A hub that has weights of each model as it is usually made."""
    net = MAKE(name, pretrained=False, **options)
    if pretrained:
        net.load_state_dict(MAKE(name, pretrained=False, num_classes=0).state_dict())
    return net


def fail(name: str, pretrained: bool = False, **options: Any) -> Any:
    """A hub that does not answer; nets are made before it is asked."""
    net = MAKE(name, pretrained=False, **options)
    if pretrained:
        raise ConnectionError("nobody there\nat all")
    return net


WRONG: list[tuple[str, int, dict[str, Any], str]] = [
    ("test_vit", 70, {}, "cannot take images of 70 pixels .* 64 or 80"),
    ("swin_tiny_patch4_window7_224", 230, {}, "cannot take images of 230 pixels"),
    ("test_resnet", 64, {"act_layer": "wibble"}, "wibble.*the size is not the reason"),
    ("test_resnet", 64, {"output_stride": 5}, "the size is not the reason"),
    ("test_vit", 64, {"wibble": 1}, "unexpected keyword argument 'wibble'"),
]


@pytest.mark.parametrize("hub", [answer, fail])
@pytest.mark.parametrize(("name", "size", "args", "told"), WRONG)
def test_a_hub_is_not_blamed_for_what_params_ask(
    name: str, size: int, args: dict[str, Any], told: str, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timm, "create_model", hub)
    with pytest.raises(BackboneError, match=told) as caught:
        create_net(params(name, **args), size, from_hub=True)
    assert "network" not in str(caught.value)
    assert "nobody there" not in str(caught.value)


def test_weights_of_a_hub_that_do_not_fit_the_arguments_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", answer)
    with pytest.raises(WeightsError, match=r"do not fit .*'embed_dim': 32.*size mismatch") as caught:
        create_net(params("test_vit", embed_dim=32), 160, from_hub=True)
    assert "network" not in str(caught.value)


def test_a_hub_that_does_not_answer_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(WeightsError, match=r"test_resnet could not be fetched: nobody there\. .*kind: file"):
        create_net(params("test_resnet"), 64, from_hub=True)


def test_random_weights_are_the_same_in_every_stage() -> None:
    def weights() -> torch.Tensor:
        backbone = Backbone(
            name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=None, std=None
        )
        return next(create_net(backbone, 32, from_hub=False).parameters()).detach()

    state = torch.get_rng_state()
    assert torch.equal(weights(), weights())
    assert torch.equal(torch.get_rng_state(), state)
