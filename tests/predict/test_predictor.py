import io
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard, ModelError
from meltpoint.model.model import Model, build_heads, load_model, save_model
from meltpoint.params.data import Images
from meltpoint.params.model import Backbone, Head, LinearHead, RandomWeights
from meltpoint.predict.predictor import PredictError, Predictor, open_predictor
from meltpoint.tables import check_predictions

if TYPE_CHECKING:
    from meltpoint.images.views import Views

SIZE = 32
PARAMS = Backbone(
    name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=[0.5] * 3, std=[0.5] * 3
)
CLASSES = {"sick": ["no", "yes"], "kind": ["x", "y", "z"]}
SPLITS = ["train", "test", "val", "test", "val", "train", "test"]


def head(label: str, tap: Any, main: bool) -> Head:
    return LinearHead(kind="linear", label=label, tap=tap, weight=1.0, class_weights="none", main=main)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    heads = {"sick": head("sick_label", "final", True), "kind": head("kind_label", -2, False)}
    outputs = {"sick": 1, "kind": 3}
    torch.manual_seed(0)
    backbone = build_backbone(PARAMS, {"final", -2}, SIZE)
    model = Model(backbone, build_heads(heads, backbone.specs, outputs), {name: one.tap for name, one in heads.items()})
    for one in model.heads.values():
        one[1].weight.data.mul_(300)  # type: ignore[index,union-attr,operator]
    card = Card(
        format=FORMAT,
        strategy="s",
        task="classification",
        backbone=PARAMS,
        images=Images(size=SIZE, resize="squash", interpolation="area"),
        max_megapixels=1,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        heads={name: HeadCard(head=one, classes=CLASSES[name], outputs=outputs[name]) for name, one in heads.items()},
        main_head="sick",
        metric="accuracy",
        key="k",
        data="d",
        seed=0,
        licence="none",
        trainable_parameters=7,
        versions={},
    )
    save_model(model, card, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def predictor(folder: Path) -> Predictor:
    return open_predictor(folder)


def store(folder: Path, size: int = SIZE) -> "Views":
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (len(SPLITS), size, size, 3), dtype=np.uint8)
    np.save(folder / "plain.npy", pixels)
    labels = ["yes", None, "no", "yes", "no", "no", "no"]
    samples = pd.DataFrame({"id": range(10, 17), "path": [f"{n}.png" for n in range(7)], "split": SPLITS})
    samples["sick_label"] = pd.array(labels, dtype="string")
    plain = np.load(folder / "plain.npy", mmap_mode="r")
    rows = lambda split: np.flatnonzero(samples["split"] == split)  # noqa: E731
    return cast("Views", SimpleNamespace(samples=samples, size=size, plain=plain, rows=rows))


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if ".p." in name]


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_views_are_predicted_split_by_split_as_the_saved_model_does(
    folder: Path, predictor: Predictor, tmp_path: Path, batch: int
) -> None:
    views = store(tmp_path / "views")
    table = predictor.predict_views(views, ("val", "test"), batch)
    assert table["id"].tolist() == [12, 14, 11, 13, 16]
    assert table["split"].tolist() == ["val", "val", "test", "test", "test"]
    assert table["sick.label"].fillna("-").tolist() == ["no", "no", "-", "yes", "no"]
    assert table["kind.label"].isna().all()
    pd.testing.assert_frame_equal(check_predictions(table, CLASSES), table)
    model, _ = load_model(folder)
    with torch.no_grad():
        outputs = model(torch.from_numpy(np.array(views.plain[[2, 4, 1, 3, 6]])))
    sick = torch.sigmoid(outputs["sick"][:, 0]).numpy()
    np.testing.assert_allclose(table["sick.p.yes"], sick, atol=1e-4)
    np.testing.assert_allclose(table["sick.p.no"], 1 - sick, atol=1e-4)
    names = [f"kind.p.{name}" for name in CLASSES["kind"]]
    np.testing.assert_allclose(table[names], outputs["kind"].softmax(-1).numpy(), atol=1e-4)
    assert table["kind.p.x"].std() > 1e-3
    assert (table[columns(table)].dtypes == np.float32).all()


def test_a_split_without_images_is_an_empty_table(predictor: Predictor, tmp_path: Path) -> None:
    assert predictor.predict_views(store(tmp_path / "views"), ("nothing",), 4).shape == (0, 3 + 2 + 5)


def test_views_of_another_size_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(PredictError, match="48 pixels wide, and the model takes 32"):
        predictor.predict_views(store(tmp_path / "views", size=48), ("val",), 4)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_pictures_are_predicted_as_their_views_and_bad_ones_spoil_only_their_row(
    predictor: Predictor, tmp_path: Path, batch: int
) -> None:
    views = store(tmp_path / "views")
    good = [png(pixels) for pixels in views.plain[views.rows("test")]]
    (tmp_path / "a.png").write_bytes(good[0])
    sources = [tmp_path / "a.png", good[1], b"", tmp_path / "none.png", good[2][:-60], b"text", good[2]]
    table = predictor.predict_images(sources, batch)
    assert table["error"].notna().tolist() == [False, False, True, True, True, True, False]
    assert table["source"].tolist()[::3] == [str(tmp_path / "a.png"), str(tmp_path / "none.png"), pd.NA]
    assert table["error"][2] == "empty file"
    assert table.loc[table["error"].notna(), columns(table)].isna().all(axis=None)
    expected = predictor.predict_views(views, ("test",), 8)
    np.testing.assert_allclose(table.loc[[0, 1, 6], columns(table)], expected[columns(table)], atol=1e-5)


def test_pictures_of_another_size_are_resized_as_in_training(predictor: Predictor) -> None:
    large = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    small = np.asarray(cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    table = predictor.predict_images([png(large), png(small)], 2)
    np.testing.assert_allclose(*table[columns(table)].to_numpy(), atol=1e-6)


def test_too_large_a_picture_is_an_error_of_its_row(predictor: Predictor) -> None:
    table = predictor.predict_images([png(np.zeros((1001, 1000, 3), np.uint8))], 2)
    assert table["error"][0] == "too many pixels"


def test_no_pictures_give_an_empty_table(predictor: Predictor) -> None:
    table = predictor.predict_images([], 4)
    assert list(table.columns) == ["source", "error", *columns(table)]
    assert table.empty


def test_sources_are_read_only_a_little_ahead(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, taken, most_ahead, done = png(np.zeros((8, 8, 3), np.uint8)), 0, 0, 0

    def sources() -> Any:
        nonlocal taken, most_ahead
        for _ in range(40):
            taken += 1
            most_ahead = max(most_ahead, taken - done)
            yield picture

    def count(self: Predictor, images: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        nonlocal done
        done += len(images)
        return {name: np.zeros((len(images), len(classes)), np.float32) for name, classes in CLASSES.items()}

    monkeypatch.setattr(Predictor, "probabilities", count)
    assert len(predictor.predict_images(sources(), 4)) == 40
    assert done == 40
    assert most_ahead <= 3 * 4 + 1


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        open_predictor(tmp_path)


def test_parameters_are_those_of_the_saved_model(folder: Path, predictor: Predictor) -> None:
    assert predictor.parameters == sum(parameter.numel() for parameter in load_model(folder)[0].parameters())
    assert not predictor.model.training
