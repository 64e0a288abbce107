"""A faster forward pass for training a network whose BatchNorm stays still: each is folded into its convolution.

With its statistics still, BatchNorm is a scaling of the convolution before it: W' = W * gamma / sigma, b' = beta -
mean * gamma / sigma. Computing W' in each step costs next to nothing, and spares a pass over every activation, forward
and backward. W, gamma and beta stay the parameters, and get the same gradients.
"""

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from meltpoint.model.fuse import find_pairs, make_example
from meltpoint.model.model import Model

NET = "backbone.net."
TOLERANCE = 1e-4  # relative to the largest output
PIXELS_PER_THREAD = 2**17  # EfficientNet-Lite0 at 128 pixels: a step takes 0.9 times as long as one in a single part


@dataclass(frozen=True)
class Pair:
    """A convolution of a model and the norm after it, with its name."""

    name: str
    convolution: nn.Conv2d
    norm: nn.BatchNorm2d

    def fold(self) -> dict[str, Tensor]:
        """The weight and bias that do the work of both, through which gradients flow."""
        norm = self.norm
        scale = (cast(Tensor, norm.running_var) + norm.eps).rsqrt()
        scale = scale * norm.weight if norm.affine else scale
        bias = -cast(Tensor, norm.running_mean) * scale
        bias = bias + norm.bias if norm.affine else bias
        bias = bias if self.convolution.bias is None else bias + self.convolution.bias * scale
        return {f"{self.name}.weight": self.convolution.weight * scale.view(-1, 1, 1, 1), f"{self.name}.bias": bias}


class FusedNetwork(nn.Module):
    """A model whose forward pass is the folded one, in parts, where that gives the same outputs; else its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            pairs = find_pairs(model.backbone, make_example(model.backbone))
        self.pairs = [_pair(model, *names) for names in pairs]
        self.skeleton = [_strip(model, pairs)]  # in a list: not a part of this module, it has no weights of its own
        if not self._is_equal():
            self.pairs = []

    def train(self, mode: bool = True) -> "FusedNetwork":
        """As nn.Module's; the skeleton, which runs instead of the model, follows."""
        super().train(mode)
        self.skeleton[0].train(mode)
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images uint8 (N, S, S, 3) to outputs of each head, as the model's."""
        if not self.pairs:
            return cast(dict[str, Tensor], self.model(images))
        tensors: dict[str, Tensor] = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        for pair in self.pairs:
            tensors |= pair.fold()
        parts = [functional_call(self.skeleton[0], tensors, (part,)) for part in torch.split(images, _part(images))]
        return {head: torch.cat([part[head] for part in parts]) for head in parts[0]}

    def _is_equal(self) -> bool:
        size = self.model.backbone.size
        images = torch.randint(
            0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        training = self.model.training
        self.eval()
        with torch.no_grad():
            own, folded = self.model(images), self(images)
        self.train(training)
        return all(
            bool((own[head] - folded[head]).abs().max() <= TOLERANCE * own[head].abs().max().clamp(min=1))
            for head in own
        )


def _part(images: Tensor) -> int:
    """How many images go through the network at once: on a CPU no more than its cache holds the activations of."""
    if images.device.type != "cpu":
        return len(images)
    return max(1, PIXELS_PER_THREAD * torch.get_num_threads() // (images.shape[1] * images.shape[2]))


def _pair(model: Model, convolution: str, norm: str) -> Pair:
    net = model.backbone.net
    return Pair(
        NET + convolution,
        cast(nn.Conv2d, net.get_submodule(convolution)),
        cast(nn.BatchNorm2d, net.get_submodule(norm)),
    )


def _strip(model: Model, pairs: list[tuple[str, str]]) -> Model:
    """A copy of the model without weights (torch's meta device) and without the norms of `pairs`."""
    skeleton = copy.deepcopy(model).to("meta")
    net = skeleton.backbone.net
    for convolution, norm in pairs:
        layer = cast(nn.Conv2d, net.get_submodule(convolution))
        layer.bias = nn.Parameter(torch.empty(layer.out_channels, device="meta"))
        module = net.get_submodule(norm)
        net.set_submodule(norm, getattr(module, "act", nn.Identity()))  # timm's BatchNormAct2d has one
    return skeleton
