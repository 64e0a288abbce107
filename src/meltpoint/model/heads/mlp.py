"""Head `mlp`: standardised features, then one hidden layer."""

from torch import nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.standardise import Standardise
from meltpoint.params.heads import MlpHead


def build(head: MlpHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Features float (N, D) to outputs float (N, n_outputs); initialised as torch does."""
    channels = backbone.specs[tap_key(head.reads)].channels
    return nn.Sequential(
        Standardise(channels),
        nn.Linear(channels, head.hidden),
        nn.GELU(),
        nn.Dropout(head.dropout),
        nn.Linear(head.hidden, n_outputs),
    )
