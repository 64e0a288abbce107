from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from meltpoint.model.model import load_model
from meltpoint.params.heads import Where
from meltpoint.predict.predictor import Predictor
from meltpoint.predict.records import Answer, PredictError
from meltpoint.tables import check_predictions
from meltpoint.tasks.answerer import Answerer, open_answerer
from meltpoint.trees import TreeError

if TYPE_CHECKING:
    from saved_models import Kit


SIZE = 32
CLASSES = {"sick": ["no", "yes"], "kind": ["x", "y", "z"]}
SPLITS = ["train", "test", "val", "test", "val", "train", "test"]


def columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if ".p." in name]


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_views_are_predicted_split_by_split_as_the_saved_model_does(
    plain_folder: Path, predictor: Answerer, tmp_path: Path, kit: "Kit", batch: int
) -> None:
    views = kit.views(tmp_path / "views")
    table = predictor.predict_views(views, ("val", "test"), batch)
    assert table["id"].tolist() == [12, 14, 11, 13, 16]
    assert table["split"].tolist() == ["val", "val", "test", "test", "test"]
    assert table["group"].tolist() == ["g1", "g2", "g0", "g1", "g3"]
    assert table["sick.label"].fillna("-").tolist() == ["no", "no", "-", "yes", "no"]
    assert table["kind.label"].isna().all()
    pd.testing.assert_frame_equal(check_predictions(table, CLASSES), table)
    model, _ = load_model(plain_folder)
    with torch.no_grad():
        outputs = model(torch.from_numpy(np.array(views.plain[[2, 4, 1, 3, 6]])))
    sick = torch.sigmoid(outputs["sick"][:, 0]).numpy()
    np.testing.assert_allclose(table["sick.p.yes"], sick, atol=1e-4)
    np.testing.assert_allclose(table["sick.p.no"], 1 - sick, atol=1e-4)
    names = [f"kind.p.{name}" for name in CLASSES["kind"]]
    np.testing.assert_allclose(table[names], outputs["kind"].softmax(-1).numpy(), atol=1e-4)
    assert table["kind.p.x"].std() > 1e-3
    assert (table[columns(table)].dtypes == np.float32).all()
    assert table["sick.answer"].tolist() == ["yes" if chance > 0.5 else "no" for chance in table["sick.p.yes"]]
    assert table["kind.answer"].tolist() == [CLASSES["kind"][place] for place in table[names].to_numpy().argmax(1)]


def test_a_split_without_images_is_an_empty_table(predictor: Answerer, tmp_path: Path, kit: "Kit") -> None:
    assert predictor.predict_views(kit.views(tmp_path / "views"), ("nothing",), 4).shape == (0, 4 + 2 + 2 + 5)


def test_views_of_another_size_are_refused(predictor: Answerer, tmp_path: Path, kit: "Kit") -> None:
    with pytest.raises(PredictError, match="48 pixels wide, and the model takes 32"):
        predictor.predict_views(kit.views(tmp_path / "views", size=48), ("val",), 4)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_pictures_are_predicted_as_their_views_and_bad_ones_spoil_only_their_row(
    predictor: Answerer, tmp_path: Path, batch: int, kit: "Kit"
) -> None:
    views = kit.views(tmp_path / "views")
    good = [kit.png(pixels) for pixels in views.plain[views.rows("test")]]
    (tmp_path / "a.png").write_bytes(good[0])
    sources = [tmp_path / "a.png", good[1], b"", tmp_path / "none.png", good[2][:-60], b"text", good[2]]
    table = predictor.predict_images(sources, batch)
    assert table["error"].notna().tolist() == [False, False, True, True, True, True, False]
    assert table["source"].tolist()[::3] == [str(tmp_path / "a.png"), str(tmp_path / "none.png"), pd.NA]
    assert table["error"][2] == "empty file"
    assert table.loc[table["error"].notna(), columns(table)].isna().all(axis=None)
    assert table["kind.answer"].isna().tolist() == table["error"].notna().tolist()
    expected = predictor.predict_views(views, ("test",), 8)
    np.testing.assert_allclose(table.loc[[0, 1, 6], columns(table)], expected[columns(table)], atol=1e-5)


def test_pictures_of_another_size_are_resized_as_in_training(predictor: Answerer, kit: "Kit") -> None:
    large = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    small = np.asarray(cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    table = predictor.predict_images([kit.png(large), kit.png(small)], 2)
    np.testing.assert_allclose(*table[columns(table)].to_numpy(), atol=1e-6)


def test_too_large_a_picture_is_an_error_of_its_row(predictor: Answerer, kit: "Kit") -> None:
    table = predictor.predict_images([kit.png(np.zeros((1001, 1000, 3), np.uint8))], 2)
    assert table["error"][0] == "too many pixels"


def test_no_pictures_give_an_empty_table(predictor: Answerer) -> None:
    table = predictor.predict_images([], 4)
    assert list(table.columns[:4]) == ["source", "error", "sick.answer", "sick.p.no"]
    assert table.empty


def test_sources_are_read_only_a_little_ahead(predictor: Answerer, monkeypatch: pytest.MonkeyPatch, kit: "Kit") -> None:
    picture, taken, most_ahead, done = kit.png(np.zeros((8, 8, 3), np.uint8)), 0, 0, 0

    def sources() -> Any:
        nonlocal taken, most_ahead
        for _ in range(40):
            taken += 1
            most_ahead = max(most_ahead, taken - done)
            yield picture

    def count(predictor: Any, images: np.ndarray[Any, Any], decode: Any) -> dict[str, np.ndarray[Any, Any]]:
        nonlocal done
        done += len(images)
        return {name: np.zeros((len(images), len(classes)), np.float32) for name, classes in CLASSES.items()}

    monkeypatch.setattr(Predictor, "probabilities", count)
    assert len(predictor.predict_images(sources(), 4)) == 40
    assert done == 40
    assert most_ahead <= 5 * 4 + 1


def test_parameters_are_those_of_the_saved_model(plain_folder: Path, predictor: Answerer) -> None:
    assert predictor.predictor.parameters == sum(
        parameter.numel() for parameter in load_model(plain_folder)[0].parameters()
    )
    assert not predictor.predictor.model.training


def test_a_head_with_where_has_no_label_elsewhere(predictor: Answerer, tmp_path: Path, kit: "Kit") -> None:
    heads = {"kind": kit.head("kind_label", where=Where(label="sick_label", is_in=["yes"]))}
    asked = open_answerer(kit.save(kit.card(heads, CLASSES), tmp_path / "model"))
    views = kit.views(tmp_path / "views")
    assert asked.predict_views(views, ("test",), 8)["kind.label"].isna().all()
    views.samples["kind_label"] = pd.array(["x", "x", "x", "y", "x", "x", "z"], dtype="string")
    assert asked.predict_views(views, ("test",), 8)["kind.label"].fillna("-").tolist() == ["-", "y", "-"]


def test_answers_of_a_tree_are_paths_and_probabilities_are_raw(yogi: Answerer, tmp_path: Path, kit: "Kit") -> None:
    table = yogi.predict_views(kit.views(tmp_path / "views"), ("train", "val", "test"), 4)
    parents = yogi.card.tree.parents  # type: ignore[union-attr]
    assert (table["pose.answer"].map(parents["pose"]) == table["family.answer"]).all()
    assert (table["family.answer"].map(parents["family"]) == table["overall.answer"]).all()
    alone = table[[f"family.p.{name}" for name in yogi.card.classes["family"]]].to_numpy().argmax(1)
    assert (table["family.answer"] != np.array(yogi.card.classes["family"])[alone]).any(), "the heads alone disagree"


def test_a_tree_that_is_none_is_told(tmp_path: Path, kit: "Kit") -> None:
    card = kit.tree_card()
    assert card.tree is not None
    parents = {**card.tree.parents, "pose": {"corpse": "flat"}}
    broken = card.model_copy(update={"tree": card.tree.model_copy(update={"parents": parents})})
    with pytest.raises(TreeError, match="has no parent"):
        open_answerer(kit.save(broken, tmp_path / "model"))


def test_every_kind_of_source_gives_the_same_answer(predictor: Answerer, tmp_path: Path, kit: "Kit") -> None:
    pixels = kit.noise(3, 60, 80)
    path = tmp_path / "one.png"
    path.write_bytes(kit.png(pixels))
    sources = [path, str(path), kit.png(pixels), Image.open(path), Image.fromarray(pixels), pixels]
    answers = predictor.predict(sources)
    assert isinstance(answers, list)
    assert [answer.source for answer in answers] == [str(path), str(path), None, None, None, None]
    assert all(answer.heads == answers[0].heads and answer.error is None for answer in answers)
    for source, known in zip(sources, answers, strict=True):
        alone = predictor.predict(source)
        assert isinstance(alone, Answer)
        for head, said in alone.heads.items():
            assert said.label == known.heads[head].label
            assert said.probability == pytest.approx(known.heads[head].probability, abs=1e-5)


def test_a_folder_gives_a_list_and_equal_names_stay_two(predictor: Answerer, album: Path) -> None:
    answers = predictor.predict(album)
    assert isinstance(answers, list)
    names = ["2.PNG", "a/1.png", "a/broken.jpg", "a/sub/3.png", "b/1.png"]
    assert [answer.source for answer in answers] == [str(album / name) for name in names]
    assert [answer.error is not None for answer in answers] == [False, False, True, False, False]
    assert not answers[2].heads
    assert predictor.predict([str(album), album / "2.PNG"]) == [*answers, answers[0]]
    (album / "empty").mkdir()
    assert predictor.predict(album / "empty") == []


def test_a_stream_is_the_same_whatever_the_batch(predictor: Answerer, album: Path) -> None:
    def told(batch: int) -> list[tuple[str | None, dict[str, float]]]:
        answers = predictor.stream(album, batch=batch)
        return [(one.source, {head: round(said.probability, 4) for head, said in one.heads.items()}) for one in answers]

    assert told(1) == told(2) == told(64)


def test_whoever_stops_taking_ends_the_work(predictor: Answerer, kit: "Kit") -> None:
    taken = 0

    def sources() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield kit.png(kit.noise(taken, 8, 8))

    answers = predictor.stream(sources(), batch=2)
    assert next(answers).error is None
    answers.close()  # type: ignore[attr-defined]
    before = taken
    assert before <= 5 * 2 + 1
    assert next(predictor.stream([kit.png(kit.noise(0))])).error is None
    assert taken == before


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((3, 4, 4), np.uint8), r"\(3, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (7, "int is no picture"),
        ([None], "NoneType is no picture"),
    ],
)
def test_what_is_no_picture_is_refused(predictor: Answerer, source: Any, why: str) -> None:
    with pytest.raises(PredictError, match=why):
        predictor.predict(source)


@pytest.mark.parametrize(("top", "language", "why"), [(0, None, "1 choice"), (1, "fr", "has them in: none")])
def test_impossible_questions_are_refused(predictor: Answerer, top: int, language: str | None, why: str) -> None:
    with pytest.raises(PredictError, match=why):
        predictor.predict(np.zeros((4, 4, 3), np.uint8), top, language)
