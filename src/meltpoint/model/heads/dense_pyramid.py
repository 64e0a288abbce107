"""Head `dense_pyramid`: stages brought to one width and summed, as in a feature pyramid, then one hidden layer.

A 1x1 convolution over stages that stand one after the other on one grid is the sum of one for each stage. It makes the
3x3 one after it narrow and cheap (Lin et al.: Feature Pyramid Networks for Object Detection, CVPR 2017; Xie et al.:
SegFormer, NeurIPS 2021).
"""

from torch import nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.standardise import Standardise
from meltpoint.model.upsample import Upsample
from meltpoint.params.heads import DensePyramidHead


def build(head: DensePyramidHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Maps float (N, C, h, w) to outputs float (N, n_outputs, S, S) of each pixel; initialised as torch does."""
    channels = backbone.specs[tap_key(head.reads)].channels
    return nn.Sequential(
        Standardise(channels),
        nn.Conv2d(channels, head.hidden, 1),
        nn.GELU(),
        nn.Conv2d(head.hidden, head.hidden, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(head.hidden, n_outputs, 1),
        Upsample(backbone.padded, backbone.size),
    )
