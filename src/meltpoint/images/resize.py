"""Brings a picture of any shape to one square size, the same way in training and serving."""

from typing import Literal, assert_never

import cv2
import numpy as np
from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.params.data import Images

Interpolation = Literal["bilinear", "bicubic", "area", "antialias", "nearest"]

ANTIALIAS = -1  # of Pillow, which OpenCV has not

INTERPOLATIONS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "antialias": ANTIALIAS,
    "nearest": cv2.INTER_NEAREST_EXACT,  # the other one takes pixels a half further up and left
}


def resize(image: Pixels, images: Images) -> Pixels:
    """A uint8 (H, W, 3) picture as uint8 (S, S, 3), S being `images.side`.

    `squash` changes the aspect ratio, `crop` scales the short side to S and keeps the centre of the long one,
    `letterbox` scales the long side to S and puts black bars beside the short one.
    """
    return move(image, images, images.interpolation, 0)


def move(image: Pixels, images: Images, interpolation: Interpolation, bars: int) -> Pixels:
    """A picture of any number of channels, or a mask (H, W), as `resize` makes it S x S; `bars` fills letterboxes."""
    size, way = images.side, INTERPOLATIONS[interpolation]
    height, width = image.shape[:2]
    match images.resize:
        case "squash":
            return _scaled(image, size, size, way)
        case "crop":
            # The middle of the long side; cut before scaling, or 1x10000 pixels would grow without bound.
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            return _scaled(image[top : top + side, left : left + side], size, size, way)
        case "letterbox":
            rows, columns = (max(1, round(side * size / max(height, width))) for side in (height, width))
            padded = np.full((size, size, *image.shape[2:]), bars, dtype=np.uint8)
            top, left = (size - rows) // 2, (size - columns) // 2
            padded[top : top + rows, left : left + columns] = _scaled(image, rows, columns, way)
            return padded
        case _:
            assert_never(images.resize)


def _scaled(image: Pixels, rows: int, columns: int, interpolation: int) -> Pixels:
    if image.shape[:2] == (rows, columns):
        return image
    if interpolation == ANTIALIAS:
        return np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR))
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=interpolation), dtype=np.uint8)
