from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from meltpoint.images.views import Views
from meltpoint.params.read import Params
from meltpoint.tasks.contract import ObjectiveError
from meltpoint.train.problem import Problem, ProblemError, build_problem
from meltpoint.trees import TreeError

WARMTH = {"red": "warm", "green": "cold", "blue": "cold"}

Change = Callable[[dict[str, Any]], None]


def warmed(views: Views) -> Views:
    """The same images with one more label, a parent of their colour."""
    samples = views.samples.assign(warmth=views.samples["colour"].map(WARMTH).astype("string"))
    return replace(views, samples=samples, classes={**views.classes, "warmth": ["warm", "cold"]})


def planted(raw: dict[str, Any]) -> None:
    raw["data"]["labels"]["warmth"] = {"kind": "names", "column": "warmth", "classes": ["warm", "cold"]}
    raw["heads"]["warmth"] = {**raw["heads"]["colour"], "label": "warmth"}
    raw["task"]["tree"] = {"levels": ["warmth", "colour"], "parents": None}


def heads(**changes: dict[str, Any]) -> Change:
    def change(raw: dict[str, Any]) -> None:
        for name, fields in changes.items():
            raw["heads"][name] |= fields

    return change


def build(scene: Any, change: Change, views: Views | None = None) -> tuple[Problem, Params, Views]:
    params, own = scene.params(change), views or scene.inputs.views
    return build_problem(own, params.recipe("finetune")), params, own


def test_rows_that_a_head_is_not_about_have_no_target(scene: Any) -> None:
    where = {"label": "shade", "is_in": ["light"]}
    problem, _, views = build(scene, heads(colour={"where": where}))
    whole, _, _ = build(scene, heads())
    for part, other in ((problem.train, whole.train), (problem.val, whole.val)):
        light = torch.from_numpy((views.samples["shade"].iloc[part.rows] == "light").to_numpy(bool))
        assert torch.equal(part.targets["colour"], torch.where(light, other.targets["colour"], -1))
        assert torch.equal(part.targets["shade"], other.targets["shade"])
        assert (part.targets["colour"] >= 0).any()


def test_balanced_weights_are_of_the_rows_a_head_is_about(scene: Any) -> None:
    where = {"label": "shade", "is_in": ["light"]}
    problem, _, _ = build(scene, heads(colour={"where": where, "class_weights": "balanced"}))
    targets = problem.train.targets["colour"]
    counts = torch.bincount(targets[targets >= 0], minlength=3)
    weights = problem.objectives["colour"].class_weights  # type: ignore[attr-defined]
    torch.testing.assert_close(weights, counts.sum() / (3 * counts))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_head_without_a_label_is_told(scene: Any, split: str) -> None:
    views = scene.inputs.views
    samples = views.samples.copy()
    samples.loc[samples["split"] == split, "colour"] = None
    with pytest.raises(
        ProblemError, match=f"'colour' has nothing to learn: none of the .* images of {split} has a label"
    ):
        build(scene, heads(), replace(views, samples=samples))


def test_a_head_about_no_row_is_told(scene: Any) -> None:
    views = scene.inputs.views
    views = replace(views, samples=views.samples.assign(shade="dark"))
    where = {"label": "shade", "is_in": ["light"]}
    with pytest.raises(ProblemError, match=r"where 'shade' is one of \['light'\]"):
        build(scene, heads(colour={"where": where}), views)


def test_classes_of_the_data_have_their_say(scene: Any) -> None:
    def late(raw: dict[str, Any]) -> None:
        raw["data"]["labels"]["colour"]["classes"] = None  # so that params do not know them
        raw["heads"]["colour"]["class_weights"] = {"gren": 2.0}

    with pytest.raises(ObjectiveError, match="'gren'.*Did you mean 'green'"):
        build(scene, late)


def test_a_tree_is_derived_from_all_images(scene: Any) -> None:
    views = warmed(scene.inputs.views)
    only_test = views.samples["split"] == "test"
    views.samples.loc[~only_test, "warmth"] = views.samples["warmth"].where(views.samples["colour"] != "blue")
    problem, _, _ = build(scene, planted, views)
    assert problem.tree is not None
    assert problem.tree.levels == ["warmth", "colour"]
    assert problem.tree.parents == {"colour": WARMTH}


def test_a_tree_can_be_given(scene: Any) -> None:
    def given(raw: dict[str, Any]) -> None:
        planted(raw)
        raw["task"]["tree"]["parents"] = {"colour": {**WARMTH, "blue": "warm"}}

    problem, _, _ = build(scene, given, warmed(scene.inputs.views))
    assert problem.tree is not None
    assert problem.tree.parents["colour"]["blue"] == "warm"


def test_classes_that_form_no_tree_stop_before_training(scene: Any) -> None:
    def crossed(raw: dict[str, Any]) -> None:
        raw["task"]["tree"] = {"levels": ["shade", "colour"], "parents": None}

    with pytest.raises(TreeError, match="3 of 3 have several"):
        build(scene, crossed)


def test_shuffled_images_come_once_and_balanced_ones_as_their_class(scene: Any) -> None:
    views = scene.inputs.views
    rare = views.samples.index.isin(views.rows("train")[:3])
    samples = views.samples.assign(shade=np.where(rare, "light", "dark"))
    samples.loc[views.rows("val")[0], "shade"] = "light"
    problem, _, _ = build(scene, heads(), replace(views, samples=samples.astype({"shade": "string"})))
    targets = problem.train.targets["shade"].numpy()
    assert problem.chances("shuffled") is None
    assert sorted(problem.order(1, 5, "shuffled").tolist()) == list(range(len(targets)))
    drawn = np.concatenate([problem.order(epoch, 5, "balanced") for epoch in range(50)])
    assert targets.mean() == pytest.approx(3 / 41)
    assert targets[drawn].mean() == pytest.approx(0.5, abs=0.04)


def shots(count: int | None, seed: int = 5) -> Change:
    def change(raw: dict[str, Any]) -> None:
        raw["seed"] = seed
        raw["strategies"]["finetune"]["shots"] = count

    return change


def taken(scene: Any, count: int | None, seed: int = 5) -> dict[str, set[int]]:
    """The ids of the training images that keep their label, by head."""
    train = build(scene, shots(count, seed))[0].train
    return {head: set(train.ids[own.numpy() >= 0].tolist()) for head, own in train.targets.items()}


def test_shots_are_so_many_labels_of_each_class_and_no_other_image(scene: Any) -> None:
    problem, _, views = build(scene, shots(3))
    assert {head: torch.bincount(own[own >= 0]).tolist() for head, own in problem.train.targets.items()} == {
        "shade": [3, 3],
        "colour": [3, 3, 3],
    }
    assert 9 <= len(problem.train.ids) <= 15
    known = torch.stack(list(problem.train.targets.values())) >= 0
    assert known.any(0).all(), "an image without a label that may be used is not shown"
    samples = views.samples.iloc[problem.train.rows]
    assert samples["id"].tolist() == problem.train.ids.tolist()
    whole = build(scene, shots(None))[0]
    assert len(problem.val.ids) == len(whole.val.ids)
    assert problem.pictures.tolist() == whole.train.rows.tolist(), "unlabelled images are there for whoever needs none"


def test_fewer_shots_are_among_more_and_another_seed_draws_others(scene: Any) -> None:
    few, more = taken(scene, 2), taken(scene, 5)
    assert all(few[head] < more[head] for head in few)
    assert taken(scene, 2) == few != taken(scene, 2, seed=6)


def test_a_class_that_has_not_so_many_keeps_all_and_is_told(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert taken(scene, 1000) == taken(scene, None)
    assert "of shade, 2 of 2 classes have fewer than 1000 labelled training images" in capsys.readouterr().out


def test_the_views_of_drawn_images_are_their_own(scene: Any) -> None:
    """Augmented views are stored of all training images, in their order."""
    problem, _, views = build(scene, shots(2))
    augmented = views.augmented[np.searchsorted(views.rows("train"), problem.train.rows)]
    numbers = np.arange(len(problem.train.ids))
    assert (problem.images.read_train(numbers, np.full(len(numbers), 2)) == augmented[:, 1]).all()
    assert (problem.images.read_train(numbers, np.zeros(len(numbers), int)) == views.plain[problem.train.rows]).all()
