import numpy as np
import pandas as pd
import pytest
import torch

from meltpoint.metrics import confusion, from_confusion
from meltpoint.params.heads import LinearHead, Target
from meltpoint.tasks.classification.objective import build_objective
from meltpoint.tasks.contract import Objective, Scores
from meltpoint.train.losses import Losses, choose_best, name_scores

HEAD = LinearHead(kind="linear", label="x", main=True)
CLASSES = ["a", "b", "c"]
KNOWN = pd.Series(["a"], dtype="string")


def score(objective: Objective, outputs: torch.Tensor, targets: torch.Tensor) -> Scores:
    tally = objective.tally()
    tally.add(outputs, targets)
    return tally.scores(lambda rows: rows)


def test_a_stack_is_scored_as_its_members() -> None:
    objective = build_objective(HEAD, CLASSES, KNOWN, torch.Tensor)
    torch.manual_seed(0)
    outputs, targets = torch.randn(4, 30, 3), torch.randint(-1, 3, (30,))
    stacked = score(objective, outputs, targets)
    for index, own in enumerate(outputs):
        single = score(objective, own, targets)
        wanted = from_confusion(confusion(targets.numpy(), own.argmax(-1).numpy(), 3))
        assert all(np.isclose(stacked[name][index], single[name]) for name in stacked)
        assert all(np.isclose(single[name], value) for name, value in wanted.items())
        known = targets >= 0
        assert np.isclose(single["loss"], torch.nn.functional.cross_entropy(own[known], targets[known]).item())


def test_the_best_metric_wins_and_loss_breaks_ties() -> None:
    scores = {"f1": np.array([0.5, 0.7, 0.7, 0.6]), "loss": np.array([0.1, 0.4, 0.3, 0.2])}
    assert choose_best(scores, "f1") == 2


def test_val_loss_is_weighted() -> None:
    scores = {"a": {"loss": 2.0, "f1": 0.5}, "b": {"loss": 1.0, "f1": 0.25}}
    curves = name_scores(scores, {"a": 3.0, "b": 1.0})
    assert curves == {"val/loss": 7.0, "val/a/loss": 2.0, "val/a/f1": 0.5, "val/b/loss": 1.0, "val/b/f1": 0.25}


def test_the_training_loss_is_the_weighted_sum() -> None:
    objective = build_objective(HEAD, CLASSES, KNOWN, torch.Tensor)
    targets = {"x": torch.tensor([0, 1, 2, 0]), "y": torch.tensor([2, 2, -1, 1])}
    losses = Losses({"x": objective, "y": objective}, {"x": 2.0, "y": 0.5}, targets, 0.1)
    outputs, numbers = {"x": torch.randn(2, 3), "y": torch.randn(2, 3)}, torch.tensor([3, 1])
    cross = torch.nn.functional.cross_entropy
    wanted = 2 * cross(outputs["x"], torch.tensor([0, 1]), label_smoothing=0.1)
    wanted += 0.5 * cross(outputs["y"], torch.tensor([1, 2]), label_smoothing=0.1)
    assert torch.isclose(losses(outputs, numbers, None), wanted)


@pytest.mark.parametrize("target", ["nominal", "ordinal"])
def test_the_most_probable_class_is_the_answer(target: Target) -> None:
    objective = build_objective(HEAD.model_copy(update={"target": target}), CLASSES, KNOWN, torch.Tensor)
    torch.manual_seed(0)
    outputs, targets = torch.randn(2, 30, objective.n_outputs) * 3, torch.randint(0, 3, (30,))
    answers = objective.decode(outputs).argmax(-1)
    assert score(objective, outputs, targets)["accuracy"] == pytest.approx((answers == targets).double().mean(-1))
