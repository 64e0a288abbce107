"""A folder of small noisy pictures, and the table of samples that describes them."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meltpoint.images.mask_files import encode_ids
from meltpoint.params.data import Images
from meltpoint.tables import IGNORED, Classes, check_samples

CLASSES: Classes = {"kind": ["cat", "dog"], "colour": ["red", "blue"]}

PALETTES = {"scene": ["#808080", "#804080", "#400080"]}


@dataclass(frozen=True)
class Gallery:
    raw: Path
    samples: pd.DataFrame
    classes: Classes
    images: Images

    def read(self, path: str) -> bytes:
        return (self.raw / path).read_bytes()


@pytest.fixture
def scenery(gallery: Gallery) -> Gallery:
    """The same pictures with a mask each: 4 by 3 fields of the classes 0 to 2 and of none."""
    random, samples = np.random.default_rng(1), gallery.samples.drop(columns=list(CLASSES))
    (gallery.raw / "masks").mkdir()
    for path, width, height in zip(samples["path"], samples["width"], samples["height"], strict=True):
        fields = random.choice(np.array([0, 1, 2, IGNORED], dtype=np.uint8), (3, 4))
        mask = cv2.resize(fields, (int(width), int(height)), interpolation=cv2.INTER_NEAREST)
        (gallery.raw / "masks" / path).write_bytes(encode_ids(mask, PALETTES["scene"]))
    samples = samples.assign(**{"scene": "sky|road|car", "scene.mask": "masks/" + samples["path"]})
    classes = {"scene": ["sky", "road", "car"]}
    return Gallery(gallery.raw, check_samples(samples, classes), classes, gallery.images)


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    random, raw = np.random.default_rng(0), tmp_path / "raw"
    raw.mkdir()
    rows = []
    for number in range(12):
        size = (int(random.integers(20, 40)), int(random.integers(20, 40)), 3)
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(raw / f"{number}.png")
        rows.append(
            {
                "id": 100 - number,
                "path": f"{number}.png",
                "kind": "dog" if number % 2 else "cat",
                "colour": None if number == 3 else "red",
                "group": None,
                "split": ("train", "train", "val", "test")[number % 4],
                "width": size[1],
                "height": size[0],
                "sha256": f"{number:064x}",
            }
        )
    samples = check_samples(pd.DataFrame(rows), CLASSES)
    return Gallery(raw, samples, CLASSES, Images(side=16, resize="squash", interpolation="area"))
