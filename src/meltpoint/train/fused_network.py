"""A faster forward pass for training a network whose BatchNorm stays still: each is folded into its convolution.

With its statistics still, BatchNorm is a scaling of the convolution before it: W' = W * gamma / sigma, b' = beta -
mean * gamma / sigma. Computing W' in each step costs next to nothing, and spares a pass over every activation, forward
and backward. W, gamma and beta stay the parameters, and get the same gradients.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from meltpoint.model.adapters import LowRankConvolution, merged
from meltpoint.model.convolution import CONVOLUTIONS
from meltpoint.model.fuse import find_pairs, make_example
from meltpoint.model.model import Model

TOLERANCE = 1e-4  # relative to the largest output
PIXELS_PER_THREAD = 2**17  # EfficientNet-Lite0 at 128 pixels: a step takes 0.9 times as long as one in a single part


class FusedNetwork(nn.Module):
    """A model whose forward pass is the folded one, in parts, where that gives the same outputs; else its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            names = find_pairs(model.backbone, make_example(model.backbone), (*CONVOLUTIONS, LowRankConvolution))
        net, skeleton = model.backbone.net, copy.deepcopy(model).to("meta")  # a copy without weights and those norms
        self.pairs: list[tuple[str, nn.Conv2d, nn.BatchNorm2d]] = []
        for convolution, norm in names:
            own = cast(nn.Conv2d, net.get_submodule(convolution)), cast(nn.BatchNorm2d, net.get_submodule(norm))
            self.pairs.append((f"backbone.net.{convolution}", *own))
            layer = cast(nn.Conv2d, skeleton.backbone.net.get_submodule(convolution))
            if isinstance(layer, LowRankConvolution):
                layer = cast(nn.Conv2d, merged(layer))
                skeleton.backbone.net.set_submodule(convolution, layer)
            layer.bias = nn.Parameter(torch.empty(layer.out_channels, device="meta"))
            act = getattr(skeleton.backbone.net.get_submodule(norm), "act", nn.Identity())  # timm's BatchNormAct2d has
            skeleton.backbone.net.set_submodule(norm, act)
        self.skeleton = [skeleton]  # in a list: not a part of this module, it has no weights of its own
        if not self._is_equal():
            self.pairs = []

    def train(self, mode: bool = True) -> "FusedNetwork":
        """As nn.Module's; the skeleton, which runs instead of the model, follows."""
        super().train(mode)
        self.skeleton[0].train(mode)
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images uint8 (N, S, S, 3) to outputs of each head, as the model's.

        On a CPU no more of them go through the network at once than its cache holds the activations of.
        """
        if not self.pairs:
            return cast(dict[str, Tensor], self.model(images))
        tensors: dict[str, Tensor] = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        for name, convolution, norm in self.pairs:
            tensors |= _fold(name, convolution, norm)
        size = len(images)
        if images.device.type == "cpu":
            size = max(1, PIXELS_PER_THREAD * torch.get_num_threads() // (images.shape[1] * images.shape[2]))
        parts = [functional_call(self.skeleton[0], tensors, (part,)) for part in torch.split(images, size)]
        return {head: torch.cat([part[head] for part in parts]) for head in parts[0]}

    def _is_equal(self) -> bool:
        size, seed = self.model.backbone.size, torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=seed)
        training = self.model.training
        self.eval()
        with torch.no_grad():
            own, folded = self.model(images), self(images)
        self.train(training)
        return all(
            bool((own[head] - folded[head]).abs().max() <= TOLERANCE * own[head].abs().max().clamp(min=1))
            for head in own
        )


def _fold(name: str, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> dict[str, Tensor]:
    """The weight and bias of the convolution `name` that do the work of both, through which gradients flow."""
    scale = (cast(Tensor, norm.running_var) + norm.eps).rsqrt()
    scale = scale * norm.weight if norm.affine else scale
    bias = -cast(Tensor, norm.running_mean) * scale
    bias = bias + norm.bias if norm.affine else bias
    bias = bias if convolution.bias is None else bias + convolution.bias * scale
    low_rank = isinstance(convolution, LowRankConvolution)
    weight = cast(LowRankConvolution, convolution).changed_weight() if low_rank else convolution.weight
    return {f"{name}.weight": weight * scale.view(-1, 1, 1, 1), f"{name}.bias": bias}
