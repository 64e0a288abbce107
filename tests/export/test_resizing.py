"""What an exported graph does to pictures of any size is what the views did, to a grey level."""

from typing import Literal

import cv2
import numpy as np
import pytest
import torch

from meltpoint.export.resizing import Resizing
from meltpoint.images.resize import Interpolation, resize
from meltpoint.params.data import Images

SIDE = 48
SIZES = ((48, 48), (96, 96), (150, 200), (301, 97), (60, 31), (20, 33), (1, 500))
SAME = {"area": 0.25, "bicubic": 0.25, "antialias": 0.05, "bilinear": 0.25}  # share of values that may be one level off


@pytest.mark.parametrize("way", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("interpolation", SAME)
def test_a_picture_of_any_size_becomes_the_view(
    interpolation: Interpolation, way: Literal["squash", "crop", "letterbox"]
) -> None:
    images = Images(side=SIDE, resize=way, interpolation=interpolation)
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        picture = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
        found = Resizing(images)(torch.from_numpy(picture)[None])[0].numpy()
        apart = np.abs(found.astype(int) - resize(picture, images))
        assert apart.max() <= 1, (height, width)
        assert (apart > 0).mean() <= SAME[interpolation], (height, width)
