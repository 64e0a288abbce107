"""Back from the square a model sees to the picture it was cut from: masks in the picture's own size."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Mask, Pixels
from meltpoint.params.data import Images

Planes = NDArray[np.float32]  # (..., C, H, W): the probability of each class at each pixel
Look = Callable[[Pixels], Mapping[str, Planes]]  # squares uint8 (n, S, S, 3) to planes (n, C, S, S), by head

UNSEEN = 255  # a pixel that the model was not shown
OVERLAP = 0.5  # of a window, shared with its neighbours at least
WINDOWS = 4  # looked at together
NARROWEST = 8  # the part of a window that a picture has to fill


def restore(planes: Planes, height: int, width: int, images: Images) -> Mask:
    """Probabilities (C, S, S) of a square that `resize` made, to the likeliest class at each pixel, uint8 (H, W).

    `squash` is stretched back, bars of `letterbox` are cut off, and what `crop` cut off is `UNSEEN`. Probabilities are
    interpolated, not classes, so that borders are smooth.
    """
    match images.resize:
        case "squash":
            return _likeliest(planes, height, width)
        case "letterbox":
            rows, columns = (max(1, round(side * images.side / max(height, width))) for side in (height, width))
            top, left = (images.side - rows) // 2, (images.side - columns) // 2
            return _likeliest(planes[:, top : top + rows, left : left + columns], height, width)
        case "crop":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            mask = np.full((height, width), UNSEEN, np.uint8)
            mask[top : top + side, left : left + side] = _likeliest(planes, side, side)
            return mask
        case _:
            assert_never(images.resize)


def is_larger(picture: Pixels, size: int) -> bool:
    """Whether windows of `size` would see more of a picture (H, W, 3); a thread of pixels would be mostly filling."""
    height, width = picture.shape[:2]
    return bool(max(height, width) > size and min(height, width) * NARROWEST >= size)


def slide(look: Look, picture: Pixels, size: int) -> dict[str, Mask]:
    """The likeliest class at each pixel of a picture uint8 (H, W, 3), uint8 (H, W) by head, through windows of `size`.

    Windows overlap by half or more; where they do, probabilities are averaged, those in the middle of a window weighing
    most. The band of windows that is worked on is in memory, not the probabilities of the whole picture. A side that is
    shorter than a window is prolonged by the picture's last pixels.
    """
    height, width = picture.shape[:2]
    below, beside = max(0, size - height), max(0, size - width)
    whole = np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_REPLICATE), dtype=np.uint8)
    tops, lefts = _places(whole.shape[0], size), _places(whole.shape[1], size)
    masks: dict[str, Mask] = {}
    bands: dict[str, Planes] = {}
    for top, following in pairwise([*tops, whole.shape[0]]):
        for head, band in _look_along(look, whole[top : top + size], lefts, size).items():
            above = bands.get(head, band[:, :0])  # what windows of the band before say of these rows
            band[:, : above.shape[1]] += above
            mask = masks.setdefault(head, np.empty(whole.shape[:2], np.uint8))
            mask[top:following] = band[:, : following - top].argmax(0)
            bands[head] = band[:, following - top :]
    return {head: mask[:height, :width] for head, mask in masks.items()}


def _look_along(look: Look, band: Pixels, lefts: list[int], size: int) -> dict[str, Planes]:
    """Weighted sums (C, S, W) of the probabilities of all windows of one band uint8 (S, W, 3)."""
    tent = 1 - np.abs(np.linspace(-1, 1, size + 2, dtype=np.float32)[1:-1])
    weights = np.outer(tent, tent)
    sums: dict[str, Planes] = {}
    for start in range(0, len(lefts), WINDOWS):
        some = lefts[start : start + WINDOWS]
        for head, planes in look(np.stack([band[:, left : left + size] for left in some])).items():
            total = sums.setdefault(head, np.zeros((planes.shape[1], *band.shape[:2]), np.float32))
            for left, own in zip(some, planes, strict=True):
                total[:, :, left : left + size] += own * weights
    return sums


def _places(length: int, size: int) -> list[int]:
    """Where windows begin, evenly spread from end to end."""
    count = 1 + int(np.ceil((length - size) / (size * (1 - OVERLAP))))
    return [int(place) for place in np.linspace(0, length - size, count).round()]


def _likeliest(planes: Planes, height: int, width: int) -> Mask:
    """The likeliest class, uint8 (height, width), of planes (C, h, w); one plane is stretched at a time."""
    grows = height * width >= planes.shape[1] * planes.shape[2]
    interpolation = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    best = np.full((height, width), -1, np.float32)
    mask = np.zeros((height, width), np.uint8)
    for number, plane in enumerate(planes):
        stretched = cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=interpolation)
        better = stretched > best
        best[better], mask[better] = stretched[better], number
    return mask
