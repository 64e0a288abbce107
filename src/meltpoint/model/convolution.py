"""A convolution taken out of a net: a copy with the BatchNorm after it folded in, and the activation that comes next.

Heads that each begin with their own copy of the net's last convolution share all that is general, and part where
features are made for an answer. The copy brings the pretrained weights; a saved model's weights take their place.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.squeeze_excite import SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)  # exactly these: a subclass may change its weight before using it
NORMS = (nn.BatchNorm2d, BatchNormAct2d)
GATES = (SEModule, SqueezeExcite)  # their convolutions see one pooled cell, and weigh channels
ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations")  # modules that define them
ATTENTION = (nn.MultiheadAttention, nn.Softmax)  # defined there too

Convolution = tuple[nn.Conv2d, nn.Module]  # and the activation after it
Note = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


def copy_last_convolution(net: nn.Module, channels: int, run: Callable[[], object]) -> Convolution | None:
    """Convolution and activation, copied from `net`: the last convolution that takes so many channels, or None.

    The activation is the next one that runs after it. `run` runs the net once, to see what follows what.
    """
    gated = {module for gate in net.modules() if isinstance(gate, GATES) for module in gate.modules()}
    convolutions = [module for module in net.modules() if type(module) in CONVOLUTIONS and module not in gated]
    fitting = [module for module in cast(list[nn.Conv2d], convolutions) if module.in_channels == channels]
    if not fitting:
        return None
    convolution = fitting[-1]
    norm, activation = _watch(net, convolution, run)
    copied = copy.deepcopy(convolution)
    if norm is not None and norm.running_mean is not None:
        weight, bias = fold(convolution, norm)
        copied.weight, copied.bias = nn.Parameter(weight), nn.Parameter(bias)
    activation = copy.deepcopy(activation)
    if hasattr(activation, "inplace"):
        activation.inplace = False  # type: ignore[assignment] # replicas of a head share what it is given
    return copied, activation


def fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution that does the work of both, computed in float64."""
    weight, bias, mean, variance, scale, shift = (
        cast(Tensor, part if part is None else part.detach().cpu().double())  # not every accelerator has float64
        for part in (convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    weight, bias = fuse_conv_bn_weights(weight, bias, mean, variance, norm.eps, scale, shift)
    return weight.detach().to(convolution.weight), bias.detach().to(convolution.weight)


@contextmanager
def watched(modules: Iterable[nn.Module], note: Note) -> Iterator[None]:
    """While the context lasts `note` is called for each module that has run, with its inputs and its output."""
    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watch(
    net: nn.Module, convolution: nn.Conv2d, run: Callable[[], object]
) -> tuple[nn.BatchNorm2d | None, nn.Module]:
    """The norm that is given the convolution's very output, and the next activation that runs; Identity for none."""
    made: list[Tensor] = []
    norms: list[nn.BatchNorm2d] = []
    activations: list[nn.Module] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if module is convolution:
            made.append(output)
        elif made and type(module) in NORMS and inputs[0] is made[0]:
            norms.append(cast(nn.BatchNorm2d, module))
        elif made and _is_activation(module):
            activations.append(module)

    wanted = [module for module in net.modules() if type(module) in CONVOLUTIONS + NORMS or _is_activation(module)]
    with watched(wanted, note):
        run()
    return next(iter(norms), None), next(iter(activations), nn.Identity())


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__.startswith(ACTIVATIONS) and not isinstance(module, ATTENTION)
