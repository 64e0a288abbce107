"""Head `pretrained`: the classifier that came with the weights; for each of our classes those of its own are added."""

import torch
from torch import Tensor, nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.class_outputs import ClassOutputs
from meltpoint.params.heads import PretrainedHead

LEAST = 1e-30  # far below any answer, so that no two are equal


class Mapped(nn.Module):
    """Outputs of a classifier with many classes as shares of ours; `owner` int64 (known,) is ours of each, -1: none.

    Classes that are none of ours do not count. One of ours that has none has a share of 0.
    """

    owner: Tensor

    def __init__(self, known: int, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.register_buffer("owner", torch.arange(known) % n_classes)  # until it is known

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (N, known) to shares float32 (N, C)."""
        own = self.owner >= 0
        found = logits.float()[:, own].softmax(-1)
        return found.new_zeros(found.shape[0], self.n_classes).index_add(1, self.owner[own], found)


def build(head: PretrainedHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Features float (N, D) to outputs float (N, n_outputs) that decode to the shares of our classes."""
    channels, ordinal = backbone.specs[tap_key(head.reads)].channels, head.target == "ordinal"
    n_classes = n_outputs + 1 if ordinal or n_outputs == 1 else n_outputs
    known = max(1, head.known)  # as yet unknown: a layer of nothing is none
    return nn.Sequential(nn.Linear(channels, known), Mapped(known, n_classes), ClassOutputs(ordinal, LEAST))
