"""Maps on a finer grid, bilinear: by products of matrices, whose gradients are the same in every run on any device.

Torch's own interpolation (the same to rounding, with align_corners=False) adds up its gradients on CUDA in any order,
and a continued training would end with other weights. The products are as fast: forward and backward together.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn


def join_maps(maps: list[Tensor], grid: tuple[int, int]) -> Tensor:
    """Maps float (N, C_i, h_i, w_i) on one grid, their channels one after the other: (N, sum of C_i, *grid)."""
    return torch.cat([resize_maps(one, *grid) for one in maps], 1)


def resize_maps(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Maps float (N, C, h, w) of many channels to (N, C, rows, columns), channels last in memory as nets leave them."""
    if maps.shape[-2:] == (rows, columns):
        return maps
    down, across = _weigh(maps.shape[2], rows, maps), _weigh(maps.shape[3], columns, maps)
    lines = maps.permute(0, 2, 3, 1).flatten(2)  # (N, h, w * C)
    cells = (down.mT @ lines).view(maps.shape[0], rows, maps.shape[3], maps.shape[1])  # (N, rows, w, C)
    return (across.mT @ cells).permute(0, 3, 1, 2)


class Upsample(nn.Module):
    """The last layer of a dense head: from the grid of padded images to the pixels of those without their padding."""

    def __init__(self, padded: int, size: int) -> None:
        super().__init__()
        self.padded, self.size = padded, size

    def forward(self, maps: Tensor) -> Tensor:
        """Maps float (N, K, h, w) to (N, K, size, size): bilinear to `padded` pixels, what was padded cut off."""
        down, across = (_weigh(side, self.padded, maps)[:, : self.size] for side in maps.shape[-2:])
        return down.mT @ (maps @ across)


def _weigh(given: int, wanted: int, like: Tensor) -> Tensor:
    """How much each of the `given` cells of a line weighs in each of the `wanted` ones: (given, wanted)."""
    cells = torch.eye(given, dtype=like.dtype, device=like.device)
    return F.interpolate(cells[None], size=wanted, mode="linear", align_corners=False)[0]
