"""The layer of every head that gives its features mean 0 and standard deviation 1 over the training images."""

import torch
from torch import Tensor, nn

SMALLEST_STD = 1e-6  # a feature that never changes on the training images is centred and left at 0


class Standardise(nn.Module):
    """(x - mean) / std with buffers `mean` and `std`, each float32 (D,); does nothing until `fit` has filled them."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Take the moments of the training features, each (D,); a std of 0 counts as 1."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > SMALLEST_STD, std, torch.ones_like(std)))

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D), or maps (N, D, h, w), to float32 of the same shape; stored ones may be float16."""
        shape = (-1, *[1] * (features.ndim - 2))
        return (features - self.mean.view(shape)) / self.std.view(shape)
