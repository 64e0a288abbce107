"""Class means and neighbours, each against another way to the same numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import normalize

from meltpoint.model.model import load_model
from meltpoint.params.heads import LinearHead
from meltpoint.tasks.classification.objective import build_objective, decode
from meltpoint.train.closed_form import sharpen
from meltpoint.train.problem import Problem, build_problem
from meltpoint.train.strategies import knn
from meltpoint.train.strategies.prototypes import class_directions
from meltpoint.train.strategy import train_strategy

Change = Callable[[dict[str, Any]], None]


def rows(**strategy: Any) -> Change:
    def change(raw: dict[str, Any]) -> None:
        raw["strategies"] = {"tried": {"encoder": "lite0", **strategy}}

    return change


def features(scene: Any, rows: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(scene.inputs.features.plain("final"))[rows])


def trained(scene: Any, change: Change) -> tuple[Any, Any, Problem]:
    recipe = scene.recipe("tried", change)
    train_strategy(recipe, scene.inputs, Path("model"), Path("others"))
    model, card = load_model(Path("model"))
    return model, card, build_problem(scene.inputs.views, recipe)


def test_prototypes_answer_the_class_with_the_most_similar_mean(scene: Any) -> None:
    model, card, problem = trained(scene, rows(kind="prototypes"))
    shown, seen = (features(scene, part.rows) for part in (problem.train, problem.val))
    mean, std = shown.mean(0), shown.std(0, correction=0)
    shown, seen = (shown - mean) / std, (seen - mean) / std
    for head, count in (("shade", 2), ("colour", 3)):
        targets = problem.train.targets[head]
        means = torch.stack([shown[targets == number].mean(0) for number in range(count)])
        expected = (normalize(seen, dim=1) @ normalize(means, dim=1).T).argmax(1)
        with torch.no_grad():
            outputs = model.heads[head](features(scene, problem.val.rows))
        assert decode(outputs, card.heads[head].head).argmax(-1).tolist() == expected.tolist()
        assert card.heads[head].head.kind == "linear"


def test_of_steps_each_output_parts_those_above_from_one() -> None:
    shown, targets = torch.eye(3), torch.tensor([0, 1, 2])
    found = class_directions(shown, targets, 3, ordinal=True)
    torch.testing.assert_close(found, torch.tensor([[-1.0, 0.5**0.5, 0.5**0.5], [0.0, -1.0, 1.0]]))


def test_the_temperature_is_the_one_of_the_least_loss() -> None:
    head = LinearHead(kind="linear", label="letter")
    objective = build_objective(head, ["a", "b", "c"], pd.Series(["a", "b", "c"]), lambda: torch.zeros(256))
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    outputs = 40 * torch.eye(3)[[0, 1, 2, 0, 1, 0]]  # sure of all, and wrong in one
    found = sharpen(objective, outputs, targets)
    losses = {
        factor: float(objective.loss(factor * outputs, targets, 0.0)) for factor in (0.5 * found, found, 2 * found)
    }
    assert min(losses, key=lambda factor: losses[factor]) == found
    probability = (found * outputs).softmax(-1).max(-1).values
    torch.testing.assert_close(probability, torch.full((6,), 5 / 6), atol=1e-3, rtol=0)


def test_neighbours_vote_as_those_of_scikit_learn(scene: Any) -> None:
    model, card, problem = trained(scene, rows(kind="knn", k=[7]))
    known = (problem.train.targets["colour"] >= 0).numpy()
    judge = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    judge.fit(features(scene, problem.train.rows[known]), problem.train.targets["colour"][known])
    seen = features(scene, problem.val.rows)
    with torch.no_grad():
        outputs = model.heads["colour"](seen)
    expected = torch.from_numpy(judge.predict_proba(seen)).float()
    torch.testing.assert_close(decode(outputs, card.heads["colour"].head), expected, atol=1e-4, rtol=0)
    assert card.heads["colour"].head.vectors == known.sum()
    assert card.trainable_parameters == 0


def test_more_neighbours_than_images_are_all_of_them(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model, _, _ = trained(scene, rows(kind="knn", k=[50, 100], shots=2))
    assert (int(model.heads["shade"][0].k), int(model.heads["colour"][0].k)) == (4, 6)
    assert "shade: k is at most 4, the labelled training images; instead of 50, 100 all vote" in capsys.readouterr().out


def test_half_precision_takes_half_the_disk(scene: Any) -> None:
    sizes = []
    for half in (False, True):
        model, _, _ = trained(scene, rows(kind="knn", k=[3], half=half))
        sizes.append(model.heads["shade"][0].vectors.nbytes)
    assert sizes[0] == 2 * sizes[1] > 0


def test_a_model_that_is_heavy_to_carry_is_told(
    scene: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(knn, "MANY", 1.0)
    trained(scene, rows(kind="knn", k=[3]))
    assert "warning: the model carries" in capsys.readouterr().out


def test_repeats_differ_in_the_images_that_are_drawn(scene: Any) -> None:
    recipe = scene.recipe("tried", rows(kind="knn", k=[1, 3], shots=2, repeats=2))
    train_strategy(recipe, scene.inputs, Path("model"), Path("others"))
    assert (Path("others") / "2" / "card.json").exists()
    _, card = load_model(Path("model"))
    assert card.heads["shade"].head.vectors == 4
