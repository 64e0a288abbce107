"""Head `linear`: standardised features, then one linear layer, as in a linear probe."""

from torch import nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.standardise import Standardise
from meltpoint.params.heads import LinearHead


def build(head: LinearHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Features float (N, D) to outputs float (N, n_outputs); initialised as torch does."""
    channels = backbone.specs[tap_key(head.reads)].channels
    return nn.Sequential(Standardise(channels), nn.Linear(channels, n_outputs))
