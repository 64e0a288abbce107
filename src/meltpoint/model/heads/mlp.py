"""Head `mlp`: standardised features, then one hidden layer."""

from torch import nn

from meltpoint.model.backbones import FeatureSpec
from meltpoint.model.standardise import Standardise
from meltpoint.params.model import MlpHead


def build(head: MlpHead, spec: FeatureSpec, n_outputs: int) -> nn.Module:
    """A module from features float (N, spec.channels) to outputs float (N, n_outputs); initialised as torch does."""
    return nn.Sequential(
        Standardise(spec.channels),
        nn.Linear(spec.channels, head.hidden),
        nn.GELU(),
        nn.Dropout(head.dropout),
        nn.Linear(head.hidden, n_outputs),
    )
