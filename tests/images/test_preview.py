"""The preview shows one training image of each kind with its views, stored or made on the fly alike."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from meltpoint.images.augment import build_transform
from meltpoint.images.preview import draw_augmented
from meltpoint.images.views import open_views, write_views

if TYPE_CHECKING:
    from conftest import Gallery


PALETTES = {"scene": ["#ffffff", "#ffffff", "#ffffff"]}


def preview(gallery: "Gallery", folder: Path, count: int) -> np.ndarray:
    transform, views = build_transform([{"D4": {"p": 1.0}}], gallery.images), folder / "views"
    write_views(gallery.read, gallery.samples, gallery.classes, gallery.images, transform, count, 7, views, PALETTES)
    draw_augmented(open_views(folder / "views"), transform, 7, folder / "augment.png")
    with Image.open(folder / "augment.png") as image:
        return np.asarray(image.convert("RGB"))


def test_stored_views_and_views_made_on_the_fly_look_the_same(gallery: "Gallery", tmp_path: Path) -> None:
    stored, flying = preview(gallery, tmp_path, 8), preview(gallery, tmp_path, 0)
    assert stored.shape == flying.shape
    below_subtitle = 80
    np.testing.assert_array_equal(stored[below_subtitle:], flying[below_subtitle:])


def test_fewer_views_need_fewer_columns(gallery: "Gallery", tmp_path: Path) -> None:
    assert preview(gallery, tmp_path, 4).shape[1] < preview(gallery, tmp_path, 8).shape[1]


def test_masks_lie_over_the_views_stored_or_made_on_the_fly(scenery: "Gallery", tmp_path: Path) -> None:
    stored, flying = preview(scenery, tmp_path, 8), preview(scenery, tmp_path, 0)
    np.testing.assert_array_equal(stored[80:], flying[80:])
    bare = replace(scenery, samples=scenery.samples.drop(columns="scene.mask").assign(scene="sky"))
    assert stored.mean() > preview(bare, tmp_path, 8).mean() + 5  # white lies over it
