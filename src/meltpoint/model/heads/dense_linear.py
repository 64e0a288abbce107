"""Head `dense_linear`: standardised features of each cell, then one 1x1 convolution; a linear probe of every pixel."""

from torch import nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.standardise import Standardise
from meltpoint.model.upsample import Upsample
from meltpoint.params.heads import DenseLinearHead


def build(head: DenseLinearHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Maps float (N, C, h, w) to outputs float (N, n_outputs, S, S) of each pixel; initialised as torch does."""
    channels = backbone.specs[tap_key(head.reads)].channels
    return nn.Sequential(
        Standardise(channels),
        nn.Conv2d(channels, n_outputs, 1),
        Upsample(backbone.padded, backbone.size),
    )
