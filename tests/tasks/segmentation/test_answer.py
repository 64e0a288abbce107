"""A predictor of masks: whole pictures, windows, and tables of counted pixels."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import pytest
import torch

from meltpoint.model.model import load_model
from meltpoint.params.data import Images
from meltpoint.predict.records import Answer, PredictError
from meltpoint.tables import check_counts
from meltpoint.tasks.answerer import Answerer, open_answerer
from meltpoint.tasks.segmentation import answer
from meltpoint.tasks.segmentation.answer import masks_of
from meltpoint.tasks.segmentation.borders import count_borders

if TYPE_CHECKING:
    from saved_models import Kit

    from meltpoint.images.views import Views

SIZE = 32
SCENE = ["grass", "water", "rock"]


@pytest.fixture
def views(tmp_path: Path, kit: "Kit") -> "Views":
    """Noise, with masks that have void pixels."""
    made: Views = kit.views(tmp_path / "views", masked=True)
    return made


def test_a_view_that_was_not_read_is_not_counted_by_chance(
    scene_folder: Path, views: "Views", monkeypatch: pytest.MonkeyPatch
) -> None:
    read = answer._read
    monkeypatch.setattr(answer, "_read", lambda *asked: islice(read(*asked), 1))
    with pytest.raises(AssertionError, match="of 5 views 2 were read"):
        open_answerer(scene_folder).predict_views(views, ("val", "test"), 2)


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_pixels_are_counted_as_the_saved_model_says(scene_folder: Path, views: "Views", batch: int) -> None:
    predictor = open_answerer(scene_folder)
    table = predictor.predict_views(views, ("val", "test"), batch)
    assert table["id"].tolist() == [12, 14, 11, 13, 16]
    assert table["group"].tolist() == ["g1", "g2", "g0", "g1", "g3"]
    pd.testing.assert_frame_equal(check_counts(table, {"scene": SCENE}), table)
    rows = np.array([2, 4, 1, 3, 6])
    model, _ = load_model(scene_folder)
    with torch.no_grad():
        said = model(torch.from_numpy(np.array(views.plain[rows])))["scene"].argmax(1).numpy().astype(np.uint8)
    true = np.asarray(views.masks)[rows]
    for place in range(len(rows)):
        known = true[place] != 255
        pairs = np.zeros((3, 3), int)
        np.add.at(pairs, (true[place][known], said[place][known]), 1)
        np.testing.assert_array_equal(np.reshape(table["scene.confusion"][place], (3, 3)), pairs)
        assert table["scene.tp.water"][place] == pairs[1, 1]
        assert table["scene.fp.water"][place] == pairs[:, 1].sum() - pairs[1, 1]
        assert table["scene.fn.water"][place] == pairs[1].sum() - pairs[1, 1]
        borders = count_borders(said[place], true[place], 3)
        columns = [f"scene.border.{count}.rock" for count in ("said", "said_near", "true", "true_near")]
        assert table.loc[place, columns].tolist() == borders[:, 2].tolist()
    np.testing.assert_array_equal(masks_of(predictor.predictor, views, rows)["scene"], said)


def test_the_perfect_model_is_perfect(painter: Answerer, tmp_path: Path, kit: "Kit") -> None:
    pixels, mask = kit.scene(SIZE, SIZE)
    views = kit.views(tmp_path / "views", pixels=np.stack([pixels] * 7), masks=np.stack([mask] * 7))
    table = painter.predict_views(views, ("val",), 2)
    assert table["scene.tp.grass"].tolist() == [(mask == 0).sum()] * 2
    assert not table.filter(regex=r"\.f[pn]\.").to_numpy().any()
    np.testing.assert_array_equal(masks_of(painter.predictor, views, np.array([0]))["scene"], mask[None])


def test_a_split_without_images_is_an_empty_table(painter: Answerer, views: "Views") -> None:
    assert painter.predict_views(views, ("nothing",), 4).shape == (0, 4 + 3 * 3 + 4 * 3 + 1)
    assert masks_of(painter.predictor, views, np.array([], np.int64))["scene"].shape == (0, SIZE, SIZE)


def test_views_that_mean_something_else_are_refused(painter: Answerer, predictor: Answerer, views: "Views") -> None:
    with pytest.raises(PredictError, match="The views have no masks"):
        painter.predict_views(cast("Views", SimpleNamespace(**{**vars(views), "masks": None})), ("val",), 4)
    other = cast("Views", SimpleNamespace(**{**vars(views), "classes": {"scene": SCENE[::-1]}}))
    with pytest.raises(PredictError, match="predicts the classes"):
        painter.predict_views(other, ("val",), 4)
    with pytest.raises(PredictError, match="48 pixels wide"):
        masks_of(painter.predictor, cast("Views", SimpleNamespace(**{**vars(views), "size": 48})), np.array([0]))


@pytest.mark.parametrize("way", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize(("height", "width"), [(64, 160), (20, 20), (33, 17)])
def test_a_mask_is_of_the_pictures_own_size(kit: "Kit", way: str, height: int, width: int) -> None:
    images = Images.model_validate({"side": SIZE, "resize": way, "interpolation": "area"})
    pixels, mask = kit.scene(height, width)
    said = kit.painter(images=images).predict(pixels, language="zh")
    assert isinstance(said, Answer)
    own = said.masks["scene"]
    assert own.mask.shape == (height, width)
    seen = own.mask != 255
    assert (own.mask != mask)[seen].mean() < 0.12
    assert sum(area.share for area in own.areas) == pytest.approx(1)
    assert own.areas[0].name == "草地"
    assert (said.heads, said.levels) == ({}, ())


def test_windows_see_what_is_lost_when_a_picture_is_made_small(painter: Answerer, kit: "Kit") -> None:
    pixels, mask = kit.scene(200, 260)
    pixels[100:104, 200:203], mask[100:104, 200:203] = (0x20, 0x40, 0xE0), 1  # smaller than a pixel of the model's
    small, large = (painter.predict(pixels, window=window) for window in (False, True))
    assert isinstance(small, Answer)
    assert isinstance(large, Answer)
    np.testing.assert_array_equal(large.masks["scene"].mask, mask)
    assert (small.masks["scene"].mask[100:104, 200:203] != 1).any()


def test_windows_are_no_matter_for_small_pictures(painter: Answerer, kit: "Kit") -> None:
    sources = [kit.png(kit.scene(30, 30)[0]), b"text", kit.png(kit.scene(90, 40)[0])]
    answers = list(painter.stream(sources, window=True, batch=2))
    assert [answer.error for answer in answers] == [None, "not an image", None]
    assert [answer.masks["scene"].mask.shape for answer in answers if not answer.error] == [(30, 30), (90, 40)]


def test_a_bad_picture_spoils_only_itself_whatever_the_batch(painter: Answerer, kit: "Kit") -> None:
    sources = [b"", kit.png(kit.scene(40, 50)[0]), b"text", kit.png(kit.scene(60, 30)[0]), b""]
    for batch in (1, 2, 8):
        answers = list(painter.stream(sources, batch=batch))
        assert [answer.error is None for answer in answers] == [False, True, False, True, False]
        shapes = [answer.masks["scene"].mask.shape for answer in answers if not answer.error]
        assert shapes == [(40, 50), (60, 30)]
    table = painter.predict_images(sources, 2)
    assert table["error"].notna().tolist() == [True, False, True, False, True]
    assert table["scene.area.grass"].isna().tolist() == [True, False, True, False, True]
    assert table["scene.area.water"][1] == pytest.approx(0.25, abs=0.03)


def test_batches_are_no_larger_than_memory_should_hold(predictor: Answerer, kit: "Kit") -> None:
    sizes = {32: 64, 256: 16, 512: 4, 2048: 1}
    for size, most in sizes.items():
        images = Images(side=size, resize="squash", interpolation="area")
        assert kit.painter(images=images).fit_batch(64) == most
    assert predictor.fit_batch(500) == 500
