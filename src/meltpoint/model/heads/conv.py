"""Head `conv`: its own copy of the backbone's last convolution, pooled, standardised, then one linear layer.

The two-headed design: heads share the stages below, and each trains a last convolution that began as the pretrained
one. The copy is of the weights that the backbone was built with; a saved model's weights are loaded over it.
"""

from torch import nn

from meltpoint.model.backbones import Backbone
from meltpoint.model.standardise import Standardise
from meltpoint.params.heads import ConvHead


def build(head: ConvHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Maps float (N, C, H, W) to outputs float (N, n_outputs); the linear layer is initialised as torch does."""
    convolution, activation = backbone.copy_convolution(head.tap)
    channels = convolution.out_channels
    return nn.Sequential(
        convolution,
        activation,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        Standardise(channels),
        nn.Linear(channels, n_outputs),
    )
