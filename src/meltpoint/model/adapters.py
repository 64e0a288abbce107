"""Low-rank adapters (Hu et al.: LoRA, ICLR 2022): W + alpha / rank * up @ down, where only `down` and `up` learn.

`down` (rank, in) begins with noise and `up` (out, rank) with 0, so that an adapted net begins as the one it was. A
linear layer applies its change to what passes, which spares the gradient of W. A 1x1 convolution applies it to W: a
map has many more cells than channels, and each further pass over it takes longer than that gradient.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from meltpoint.errors import UserError

SHOWN = 12  # names in a message
Layer = nn.Linear | nn.Conv2d


class AdapterError(UserError, ValueError):
    """No layer of the encoder can be adapted, or none has one of the wanted words in its name."""


@dataclass(frozen=True)
class Adapted:
    """Names of the layers that were adapted, and of wanted ones that cannot be."""

    names: list[str]
    skipped: list[str]


class LowRankLinear(nn.Linear):
    """A linear layer and its adapter."""

    down: nn.Parameter
    up: nn.Parameter
    scale: float

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Linear's, of the changed weight."""
        change = F.linear(F.linear(input, self.down), self.scale * self.up)
        return super().forward(input).add_(change)  # in place: a sum of its own would be kept beside both

    def changed_weight(self) -> Tensor:
        """W + scale * up @ down, (out, in)."""
        return self.weight + self.scale * self.up @ self.down


class LowRankConvolution(nn.Conv2d):
    """A 1x1 convolution and its adapter."""

    down: nn.Parameter
    up: nn.Parameter
    scale: float

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Conv2d's, of the changed weight."""
        return cast(Tensor, self._conv_forward(input, self.changed_weight(), self.bias))

    def changed_weight(self) -> Tensor:
        """W + scale * up @ down, (out, in, 1, 1)."""
        return self.weight + (self.scale * self.up @ self.down)[:, :, None, None]


def adapt(net: nn.Module, rank: int, alpha: float, where: Literal["all"] | Sequence[str], seed: int) -> Adapted:
    """Put an adapter at each linear layer and 1x1 convolution of `net` whose name holds one of the words `where`.

    Weights keep their names; beside `<layer>.weight` there are then `<layer>.down` and `<layer>.up`. Other kinds of
    convolution are no matrix products: those that `where` names are told as skipped.

    Raises:
        AdapterError: there is no such layer.
    """
    layers = {name: module for name, module in net.named_modules() if isinstance(module, Layer)}
    fitting = [name for name, layer in layers.items() if _fits(layer)]
    wanted = [name for name in layers if where == "all" or any(word in name for word in where)]
    names = [name for name in wanted if name in fitting]
    if not names:
        raise AdapterError(
            f"strategies: where is {where}, and no linear layer or 1x1 convolution of this encoder has a name with that"
            f" in it. It has {_summary(fitting) or 'none'}. Correct `where`"
            f"{', or take `kind: finetune`' if not fitting else ', or set it to all'}."
        )
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        net.set_submodule(name, _wrap(layers[name], rank, alpha / rank, generator))
    return Adapted(names, [name for name in wanted if name not in names])


def merge(net: nn.Module) -> None:
    """Put a plain layer with the changed weight in the place of each adapted one."""
    for name, layer in list(net.named_modules()):
        if isinstance(layer, LowRankLinear | LowRankConvolution):
            net.set_submodule(name, merged(layer))


def merged(layer: LowRankLinear | LowRankConvolution) -> Layer:
    """A plain layer with the changed weight."""
    plain = _plain(nn.Linear if isinstance(layer, LowRankLinear) else nn.Conv2d, layer)
    with torch.no_grad():
        plain.weight = nn.Parameter(layer.changed_weight(), requires_grad=False)
    return plain


def _fits(layer: Layer) -> bool:
    """A subclass may change its weight before using it."""
    if type(layer) is nn.Conv2d:
        return layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear


def _wrap(layer: Layer, rank: int, scale: float, generator: torch.Generator) -> Layer:
    """The adapted layer, with the parameters of the given one."""
    adapted = _plain(LowRankLinear if isinstance(layer, nn.Linear) else LowRankConvolution, layer)
    out, width = layer.weight.shape[:2]
    noise = (2 * torch.rand((rank, width), generator=generator) - 1) / width**0.5
    adapted.down, adapted.up = nn.Parameter(noise), nn.Parameter(torch.zeros(out, rank))
    adapted.scale = scale  # type: ignore[assignment] # nn.Module's __setattr__
    return adapted


def _plain(kind: Any, layer: Layer) -> Layer:
    """A layer of that kind with the sizes and parameters of the given one."""
    sizes = (layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else _sizes(layer)
    made: Layer = kind(*sizes, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = layer.weight, layer.bias
    return made.train(layer.training)


def _sizes(layer: nn.Conv2d) -> tuple[Any, ...]:
    return layer.in_channels, layer.out_channels, 1, layer.stride, layer.padding


def _summary(names: Sequence[str]) -> str:
    """Names with their numbers left out, each once: `blocks.*.attn.qkv (12)`."""
    kinds = Counter(re.sub(r"\b\d+\b", "*", name) for name in names)
    shown = [f"{kind} ({count})" if count > 1 else kind for kind, count in kinds.items()]
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
