"""A copy of a backbone or model for inference, with BatchNorm folded into the convolution before it."""

import copy
from typing import TypeVar, cast

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from meltpoint.model.backbones import Backbone
from meltpoint.model.convolution import CONVOLUTIONS, NORMS, fold, watched
from meltpoint.model.model import Model

Fusable = TypeVar("Fusable", Backbone, Model)

TOLERANCE = 1e-5  # relative to the largest feature


def fuse(module: Fusable) -> Fusable:
    """A copy in eval mode without gradients, its features equal within 1e-5; not folded where they would not be."""
    fused = copy.deepcopy(module).eval().requires_grad_(False)
    backbone = fused.backbone if isinstance(fused, Model) else fused
    example = make_example(backbone)
    with torch.no_grad():
        before = backbone(example)
        net = copy.deepcopy(backbone.net)
        for convolution_name, norm_name in find_pairs(backbone, example):
            convolution = cast(nn.Conv2d, backbone.net.get_submodule(convolution_name))
            norm = cast(nn.BatchNorm2d, backbone.net.get_submodule(norm_name))
            weight, bias = fold(convolution, norm)
            convolution.weight = nn.Parameter(weight, requires_grad=False)
            convolution.bias = nn.Parameter(bias, requires_grad=False)
            backbone.net.set_submodule(norm_name, norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity())
        after = backbone(example)
    for key, values in before.items():
        if not (values - after[key]).abs().max() <= TOLERANCE * values.abs().max().clamp(min=1):  # or NaN
            backbone.net = net  # something else read the convolution's output
    return fused


def make_example(backbone: Backbone) -> Tensor:
    """Two images of fixed noise, normalised: float32 (2, 3, S, S)."""
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, backbone.size, backbone.size, 3), dtype=torch.uint8, generator=noise)
    return backbone.prepare(pixels)


def find_pairs(
    backbone: Backbone, example: Tensor, kinds: tuple[type[nn.Module], ...] = CONVOLUTIONS
) -> list[tuple[str, str]]:
    """Names in `backbone.net` of each convolution and the norm that is given its very output, found by running once."""
    names = {module: name for name, module in backbone.net.named_modules()}
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensor is kept, or its id would be used again
    pairs: list[tuple[str, str]] = []
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        if type(module) in kinds:
            made[id(output)] = (module, output)
        elif id(inputs[0]) in made:
            pairs.append((names[made[id(inputs[0])][0]], names[module]))

    with watched([module for module in names if type(module) in kinds + NORMS], note):
        backbone(example)
    # a norm without stored statistics takes those of each batch, and cannot be folded
    still = (module for module in calls if not isinstance(module, nn.BatchNorm2d) or module.running_mean is not None)
    once = {names[module] for module in still if calls[module] == 1}
    return [(convolution, norm) for convolution, norm in pairs if {convolution, norm} <= once]
