"""Head `cosine`: one linear layer over features of length 1, as zero-shot classifiers are, and pictures beside it.

The pictures are a cache of keys, as of Tip-Adapter (Zhang et al.: Tip-Adapter: Training-free Adaption of CLIP for
Few-shot Classification, ECCV 2022, equations 4 to 6).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.standardise import Standardise
from meltpoint.params.heads import CosineHead


class Cosine(nn.Module):
    """Features x (N, D) of length 1 to x W + exp(-sharpness (1 - x K)) V, float (N, n_outputs).

    `words` is W, which holds the temperature; `keys` K (n, D) are the features of `examples` pictures, each of length
    1, `values` V (n, n_outputs) what each of them counts. Without examples only the first term is there.
    """

    def __init__(self, channels: int, n_outputs: int, examples: int) -> None:
        super().__init__()
        self.words = nn.Linear(channels, n_outputs, bias=False)
        self.examples = examples
        if examples:
            self.keys = nn.Parameter(normalize(torch.randn(examples, channels), dim=1))
            self.values = nn.Parameter(torch.randn(examples, n_outputs))
            self.sharpness = nn.Parameter(torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Float (N, D) to float (N, n_outputs)."""
        features = normalize(features, dim=1)
        outputs: Tensor = self.words(features)
        if self.examples:
            outputs = outputs + torch.exp(self.sharpness * (features @ self.keys.T - 1)) @ self.values
        return outputs


def build(head: CosineHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Features float (N, D) to outputs float (N, n_outputs); its numbers are random until `words` fills them."""
    channels = backbone.specs[tap_key(head.reads)].channels
    return nn.Sequential(Standardise(channels), Cosine(channels, n_outputs, head.examples))
