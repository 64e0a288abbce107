"""Overlays show each image with its own masks, in the colours of the classes, the best before the worst."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meltpoint.tables import IGNORED
from meltpoint.tasks.segmentation.metrics import judge_heads
from meltpoint.tasks.segmentation.overlays import (
    BLEND,
    SHARE,
    choose,
    draw_overlays,
    paint,
    paint_errors,
    palette_of,
    show_images,
)
from meltpoint.tasks.segmentation.report import draw_bars


@given(st.integers(0, 60), st.integers(0, 9))
def test_best_middle_and_worst_never_share_an_image(images: int, each: int) -> None:
    chosen = choose(images, each)
    places = [place for group in chosen.values() for place in group]
    assert list(chosen) == ["best", "middle", "worst"]
    assert len(set(places)) == len(places) <= 3 * each
    assert set(places) <= set(range(images))
    if images >= 3 * each:
        assert [len(group) for group in chosen.values()] == [each] * 3
        assert chosen["best"] == list(range(images))[::-1][:each]
        assert chosen["worst"] == list(range(each))
    if images and each:
        assert chosen["worst"][0] == 0


def test_the_middle_is_the_median() -> None:
    assert choose(9, 1) == {"best": [8], "middle": [4], "worst": [0]}
    assert choose(2, 1) == {"best": [1], "middle": [], "worst": [0]}


def test_colours_are_those_of_the_classes(mask_card: Any) -> None:
    colours, image = palette_of(mask_card()), np.full((4, 4, 3), 100, np.uint8)
    mask = np.array([[0, 1, 2, 3]] * 4, np.uint8)
    mask[3] = IGNORED
    painted = paint(image, mask, colours)
    assert painted[0, 2] == pytest.approx((1 - BLEND) * 100 + BLEND * np.array([0x1F, 0x4F, 0xD8]), abs=1)
    assert (np.ptp(painted[3], axis=-1) == 0).all(), "void is grey"


def test_errors_stand_out_and_void_is_none(mask_card: Any) -> None:
    image, truth, said = np.full((4, 4, 3), 100, np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    said[0], truth[1] = 1, IGNORED
    said[1] = 3
    spread = np.ptp(paint_errors(image, truth, said).astype(int), axis=-1)
    assert (spread[0] > 100).all()
    assert (spread[1:] == 0).all()


def test_an_image_is_shown_with_its_own_masks(scenes: Any) -> None:
    made = scenes(images=9, errors=0.5)
    shown = show_images(made.table, made.card, partial(made.masks_of, made.views), made.views, SHARE)
    assert [own.caption.split(":")[0] for own in shown] == ["best", "middle", "worst"]
    for own in shown:
        row = int(own.caption.rsplit(" ", 1)[1].removesuffix(".png")) - 10
        assert (own.image == made.views.plain[row]).all()
        assert (own.truth == made.true[row]).all()
        assert (own.said == made.said[row]).all()
    ious = [float(own.caption.split("IoU ")[1].split("%")[0]) for own in shown]
    assert ious == sorted(ious, reverse=True)


def test_pictures_are_drawn(scenes: Any, tmp_path: Path) -> None:
    made = scenes(images=3)
    head = made.card.heads["scene"]
    draw_overlays(
        show_images(made.table, made.card, partial(made.masks_of, made.views), made.views, 1),
        head,
        "title",
        tmp_path / "some.png",
    )
    draw_overlays([], head, "title", tmp_path / "none.png")
    draw_bars(judge_heads(made.table, made.card.heads).splits["test"], "title", tmp_path / "bars.png")
    draw_bars(judge_heads(made.table.iloc[:0], made.card.heads).splits["test"], "title", tmp_path / "empty.png")
    heights = {}
    for name in ("some", "none", "bars", "empty"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            heights[name] = picture.height
            assert len(np.unique(np.asarray(picture.convert("L")))) > 5
    assert heights["some"] > 2 * heights["none"]
