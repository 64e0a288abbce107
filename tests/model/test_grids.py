"""Grids of whole images: any size, each stage where it belongs, the same alone, fused, saved and loaded."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from meltpoint.model.backbones import Backbone, build_backbone, tap_key
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.fuse import fuse
from meltpoint.model.model import Model, build_heads, load_model, save_model
from meltpoint.model.nets import BackboneError, run_net
from meltpoint.model.standardise import Standardise
from meltpoint.model.taps import FeatureSpec
from meltpoint.params.data import Images
from meltpoint.params.heads import DenseConvHead, DenseLinearHead
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import GridTap, RandomWeights, Reading

TINY = {"depth": 2, "embed_dim": 24, "num_heads": 2}


def params(name: str, **args: Any) -> BackboneParams:
    return BackboneParams(name=name, args=args, weights=RandomWeights(kind="random"), mean=[0.5] * 3, std=[0.25] * 3)


def dinov2(size: int, *taps: Reading) -> Backbone:
    return build_backbone(params("vit_small_patch14_dinov2", **TINY), taps, size)


def cnn(size: int, *taps: Reading) -> Backbone:
    backbone = build_backbone(params("test_efficientnet"), taps, size)
    noise = torch.Generator().manual_seed(0)
    for module in backbone.modules():  # as if pretrained: folding BatchNorm has something to do
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=noise)
            module.running_var.uniform_(0.5, 2, generator=noise)
    return backbone


def pixels(count: int, size: int) -> Tensor:
    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=noise)


def linear(*taps: int) -> DenseLinearHead:
    return DenseLinearHead(
        kind="dense_linear", label="scene", taps=taps, weight=1.0, class_weights="none", dice=0.0, main=True
    )


def model(backbone: Backbone, *taps: int, classes: int = 3) -> Model:
    torch.manual_seed(0)
    head = linear(*taps)
    return Model(backbone, build_heads({"scene": head}, backbone, {"scene": classes}), {"scene": head.reads}).eval()


def test_the_key_names_the_stages_in_their_order() -> None:
    assert tap_key(GridTap(at=(-4, -1))) == "grid.-4.-1"
    assert tap_key(GridTap(at=(-1,))) == "grid.-1"


@pytest.mark.parametrize(("size", "padded"), [(224, 224), (518, 518), (640, 644)])
def test_dinov2_takes_sizes_that_are_no_multiples_of_its_patches(size: int, padded: int) -> None:
    backbone, tap = dinov2(size, GridTap(at=(0, 1))), "grid.0.1"
    assert (backbone.size, backbone.padded) == (size, padded)
    cells = padded // 14
    assert backbone.specs == {tap: FeatureSpec(48, 14, (cells, cells), pooled=False, dtype="float16")}
    with torch.inference_mode():
        prepared = backbone.prepare(pixels(1, size))
        assert prepared.shape == (1, 3, padded, padded)
        assert backbone(prepared)[tap].shape == (1, 48, cells, cells)
        assert model(backbone, 0, 1)(pixels(1, size))["scene"].shape == (1, 3, size, size)


def test_what_is_padded_is_the_mean_colour_on_the_right_and_below() -> None:
    backbone = dinov2(20, GridTap(at=(-1,)))
    images = pixels(2, 20)
    prepared = backbone.prepare(images)
    expected = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    torch.testing.assert_close(prepared[..., :20, :20], expected, atol=1e-5, rtol=1e-5)
    assert prepared.shape == (2, 3, 28, 28)
    assert not prepared[..., 20:, :].any()
    assert not prepared[..., :, 20:].any()
    assert prepared.is_contiguous(memory_format=torch.channels_last)


def test_beside_other_taps_a_wrong_size_is_refused() -> None:
    with pytest.raises(BackboneError, match="images of 20 pixels.*takes are 14 or 28"):
        dinov2(20, GridTap(at=(-1,)), -1)


def test_wrong_arguments_are_told_as_ever() -> None:
    with pytest.raises(BackboneError, match="cannot be made with args"):
        build_backbone(params("test_vit", wibble=1), [GridTap(at=(-1,))], 32)


def test_a_tap_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(BackboneError, match=r"no tap 7\. It has 0 \(16 channels\)"):
        build_backbone(params("test_efficientnet"), [GridTap(at=(-1, 7))], 64)


def test_stages_stand_one_after_the_other_on_the_finest_grid() -> None:
    backbone = cnn(64, GridTap(at=(-1, 1)))
    images = backbone.prepare(pixels(2, 64))
    with torch.inference_mode():
        joined = backbone(images)["grid.-1.1"]
        _, (fine, coarse) = run_net(backbone.net, images, [1, 4], whole=False)
    rows = fine.cells.shape[2]
    assert rows > coarse.cells.shape[2]
    channels = coarse.cells.shape[1]
    assert backbone.specs["grid.-1.1"] == FeatureSpec(
        channels + fine.cells.shape[1], 64 // rows, (rows, rows), pooled=False, dtype="float16"
    )
    torch.testing.assert_close(joined[:, channels:], fine.cells)
    expected = F.interpolate(coarse.cells, (rows, rows), mode="bilinear", align_corners=False)
    torch.testing.assert_close(joined[:, :channels], expected)


def test_blocks_of_a_vit_pass_its_last_norm() -> None:
    backbone, raw = dinov2(28, GridTap(at=(0,))), list[Tensor]()
    net = cast(Any, backbone.net)
    net.blocks[0].register_forward_hook(lambda *given: raw.append(given[-1]))
    with torch.inference_mode():
        found = backbone(backbone.prepare(pixels(2, 28)))["grid.0"]
        patches = net.norm(raw[0])[:, 1:]
    torch.testing.assert_close(found.flatten(2).mT, patches)


def test_what_comes_after_the_last_tap_is_cut_off() -> None:
    short, whole = (sum(each.numel() for each in cnn(64, tap).parameters()) for tap in (GridTap(at=(0, 1)), "final"))
    assert short < whole / 2


@pytest.mark.parametrize("size", [64, 50])
def test_a_fused_model_gives_the_same_outputs(size: int) -> None:
    built = model(cnn(size, GridTap(at=(2, -1))), 2, -1)
    fused = fuse(built)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.inference_mode():
        before, after = built(pixels(2, size))["scene"], fused(pixels(2, size))["scene"]
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_pixels_of_an_image_are_answered_where_they_are() -> None:
    """A linear head over maps whose channel is brightness finds a bright corner in that corner."""
    backbone = dinov2(20, GridTap(at=(-1,)))
    head = build_heads({"scene": linear(-1)}, backbone, {"scene": 1})["scene"]
    maps = torch.zeros(1, 24, 2, 2)
    maps[0, 0, 0, 1] = 1.0  # above, on the right
    with torch.no_grad():
        layer = cast(nn.Conv2d, cast(nn.Sequential, head)[1])
        layer.weight.zero_()
        layer.weight[0, 0] = 1.0
        layer.bias.zero_()  # type: ignore[union-attr]
        found = head(maps)[0, 0]
    assert found.shape == (20, 20)
    assert divmod(int(found.argmax()), 20) == (0, 19)


def test_a_dense_model_is_saved_and_loaded_with_its_padding_and_colours(tmp_path: Path) -> None:
    built = model(dinov2(20, GridTap(at=(-2, -1))), -2, -1, classes=2)
    layer = cast(nn.Sequential, built.heads["scene"])[0]
    cast(Standardise, layer).mean.fill_(0.5)
    own = HeadCard(
        head=linear(-2, -1), classes=["sky", "road"], outputs=2, threshold=None, unknown_below=None, names={},
        colours=["#0080ff", "#202020"],
    )  # fmt: skip
    card = Card(
        format=FORMAT, strategy="frozen", task="segmentation", backbone=built.backbone.params,
        images=Images(side=20, resize="squash", interpolation="area"), max_megapixels=10, mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25), heads={"scene": own}, tree=None, main_head="scene", metric="miou", key="k", data="d",
        seed=0, licence="none", trainable_parameters=1, versions={},
    )  # fmt: skip
    save_model(built, card, tmp_path)
    loaded, read = load_model(tmp_path)
    assert read == card
    assert loaded.backbone.padded == 28
    with torch.inference_mode():
        torch.testing.assert_close(loaded(pixels(2, 20))["scene"], built(pixels(2, 20))["scene"])


def test_a_hidden_layer_sees_the_cells_around() -> None:
    backbone = dinov2(42, GridTap(at=(-1,)))
    wide = DenseConvHead(
        kind="dense_conv", label="scene", taps=(-1,), hidden=4, weight=1.0, class_weights="none", dice=0.0, main=True
    )
    for head, seen in ((linear(-1), 1), (wide, 9)):
        layers = cast(nn.Sequential, build_heads({"scene": head}, backbone, {"scene": 2})["scene"])[:-1]
        maps = torch.randn(1, 24, 3, 3, requires_grad=True)
        layers(maps)[0, 0, 1, 1].backward()
        assert maps.grad is not None
        assert int(maps.grad.abs().sum(1).gt(0).sum()) == seen
