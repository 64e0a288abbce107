"""Head `linear`: standardised features, then one linear layer, as in a linear probe."""

from torch import nn

from meltpoint.model.backbones import FeatureSpec
from meltpoint.model.standardise import Standardise
from meltpoint.params.model import LinearHead


def build(head: LinearHead, spec: FeatureSpec, n_outputs: int) -> nn.Module:  # noqa: ARG001 - every kind is built alike
    """A module from features float (N, spec.channels) to outputs float (N, n_outputs); initialised as torch does."""
    return nn.Sequential(Standardise(spec.channels), nn.Linear(spec.channels, n_outputs))
