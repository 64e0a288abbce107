"""Head `dense_conv`: standardised features, then one hidden layer that sees the cells around each cell."""

from torch import nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.standardise import Standardise
from meltpoint.model.upsample import Upsample
from meltpoint.params.heads import DenseConvHead


def build(head: DenseConvHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Maps float (N, C, h, w) to outputs float (N, n_outputs, S, S) of each pixel; initialised as torch does."""
    channels = backbone.specs[tap_key(head.reads)].channels
    return nn.Sequential(
        Standardise(channels),
        nn.Conv2d(channels, head.hidden, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(head.hidden, n_outputs, 1),
        Upsample(backbone.padded, backbone.size),
    )
