"""Resizing inside of an exported graph: pictures of any size in, by sums and products that every runtime has.

Each output row is a weighted sum of input rows, each column one of columns. The resizing operators of runtimes are no
choice: they have no `area`, and their other ways are up to ten grey levels from those that made the training views.
"""

import torch
from torch import Tensor, nn

from meltpoint.params.data import Images

EDGE = 1e-9  # of a pixel, for positions on the border between two
CUBIC = -0.75  # of OpenCV; Keys: Cubic Convolution Interpolation for Digital Image Processing, IEEE TASSP 1981


class Resizing(nn.Module):
    """Pictures uint8 (N, H, W, 3) to uint8 (N, S, S, 3), as `images.resize.resize` does up to rounding."""

    def __init__(self, images: Images) -> None:
        super().__init__()
        self.images, self.training = images, False

    def forward(self, pictures: Tensor) -> Tensor:
        """All pictures of a batch have one size; N, H and W are free."""
        side, count = self.images.side, pictures.shape[0]
        rows, columns = self._weights(pictures.shape[1], pictures.shape[2])
        turned = self.images.interpolation == "antialias"  # Pillow begins with columns, and rounds in between
        if turned:
            pictures, rows, columns = pictures.transpose(1, 2), columns, rows
        first = rows @ pictures.float().reshape(count, pictures.shape[1], pictures.shape[2] * 3)
        first = first.reshape(count, side, pictures.shape[2], 3)
        if turned:
            first = _round(first)
        both = _round(columns @ first)
        return (both.transpose(1, 2) if turned else both).clamp(0, 255).to(torch.uint8)

    def _weights(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """What input rows (S, H) and columns (S, W) count in each output row and column."""
        side = self.images.side
        lengths = torch.stack([torch.scalar_tensor(one, dtype=torch.float64) for one in (height, width)])
        taken, made = lengths, torch.full_like(lengths, side)  # input pixels that are looked at, output pixels of them
        match self.images.resize:
            case "crop":
                taken = lengths.min().expand(2)
            case "letterbox":
                made = torch.round(lengths * side / lengths.max()).clamp(min=1.0)
        before, bar = torch.floor((lengths - taken) / 2), torch.floor((side - made) / 2)
        step = taken / made
        found = []
        for axis, length in enumerate((height, width)):
            at = torch.arange(length, dtype=torch.float64)[None] - before[axis]
            cell = torch.arange(side, dtype=torch.float64)[:, None] - bar[axis]
            inside = (at >= 0) & (at < taken[axis]) & (cell >= 0) & (cell < made[axis])
            weights = self._weigh(at, cell, step[axis], taken[axis] - 1, (step < 1).any()) * inside
            if self.images.interpolation == "antialias":
                weights = weights / weights.sum(1, keepdim=True).clamp(min=EDGE)
            found.append(weights.float())
        return found[0], found[1]

    def _weigh(self, at: Tensor, cell: Tensor, step: Tensor, last: Tensor, enlarged: Tensor) -> Tensor:
        """Of input pixels `at` (1, L), 0 to `last`, in output pixels `cell` (S, 1), each `step` input pixels wide."""
        start, centre = cell * step, (cell + 0.5) * step
        match self.images.interpolation:
            case "antialias":  # a triangle, as wide as the pixels that become one
                return (1 - (at + 0.5 - centre).abs() / step.clamp(min=1.0)).clamp(min=0)
            case "bilinear":
                return (1 - (at - torch.minimum((centre - 0.5).clamp(min=0.0), last)).abs()).clamp(min=0)
            case "bicubic":
                base = torch.floor(centre - 0.5)
                return sum((_cubic(centre - 0.5 - base - tap) * (at == _within(base + tap, last))
                            for tap in (-1, 0, 1, 2)), torch.zeros(()))  # fmt: skip
            case "area":  # its share of the output pixel; where a side grows, OpenCV mixes two neighbours instead
                share = (torch.minimum(at + 1, start + step) - torch.maximum(at, start)).clamp(min=0) / step
                base = torch.floor(start + EDGE)
                second = ((start + step - base - 1) / step).clamp(min=0.0)
                second = second - torch.floor(second)
                mixed = (at == base) * (1 - second) + (at == _within(base + 1, last)) * second
                return torch.where(enlarged, mixed, share)


class Resized(nn.Module):
    """A graph of images (N, S, S, 3), behind its resizing."""

    def __init__(self, graph: nn.Module, images: Images) -> None:
        super().__init__()
        self.resizing, self.core, self.training = Resizing(images), graph, False  # `eval` would ask the graph, too

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Pictures uint8 (N, H, W, 3) to what the graph gives."""
        found: tuple[Tensor, ...] = self.core(self.resizing(pictures))
        return found


def _round(values: Tensor) -> Tensor:
    return torch.floor(values + 0.5)


def _within(place: Tensor, last: Tensor) -> Tensor:
    return torch.minimum(place.clamp(min=0.0), last)


def _cubic(distance: Tensor) -> Tensor:
    d = distance.abs()
    near = ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1
    return torch.where(d <= 1, near, ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC)
