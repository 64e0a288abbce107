"""Head `knn`: the most similar of the vectors that it holds vote, the more the more similar they are."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.class_outputs import ClassOutputs
from meltpoint.params.heads import KnnHead

TEMPERATURE = 0.07  # DINO's


class Neighbours(nn.Module):
    """Weighted k-NN as DINO evaluates it.

    Caron et al.: Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, after Wu et al., CVPR 2018.
    Buffers: `vectors` (V, D) of length 1, `labels` int64 (V,), their class ids, and `k`, how many of them vote.
    """

    vectors: Tensor
    labels: Tensor
    k: Tensor

    def __init__(self, count: int, channels: int, n_classes: int, half: bool) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.register_buffer("vectors", torch.zeros(count, channels, dtype=torch.float16 if half else torch.float32))
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("k", torch.tensor(1))

    def fill(self, vectors: Tensor, labels: Tensor) -> None:
        """Hold the features (V, D) of images with these class ids (V,)."""
        self.vectors.copy_(normalize(vectors, dim=1))
        self.labels.copy_(labels)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) to votes float32 (N, C), 0 where a class is not among the neighbours."""
        return self.vote(features, [int(self.k)])[0]

    def vote(self, features: Tensor, counts: list[int]) -> Tensor:
        """Votes float32 (R, N, C) of the nearest so many, for each of R counts."""
        similar = normalize(features, dim=1) @ self.vectors.float().T  # (N, V)
        near, places = similar.topk(max(counts), dim=1)
        weights, classes = (near / TEMPERATURE).exp(), self.labels[places]
        votes = features.new_zeros(len(counts), features.shape[0], self.n_classes)
        for number, count in enumerate(counts):
            votes[number].scatter_add_(1, classes[:, :count], weights[:, :count])
        return votes


def build(head: KnnHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Features float (N, D) to outputs float (N, n_outputs) that decode to the shares of votes."""
    channels, ordinal = backbone.specs[tap_key(head.reads)].channels, head.target == "ordinal"
    n_classes = n_outputs + 1 if ordinal or n_outputs == 1 else n_outputs
    return nn.Sequential(Neighbours(head.vectors, channels, n_classes, head.half), ClassOutputs(ordinal))
