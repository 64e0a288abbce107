from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from meltpoint.params.model import LinearHead
from meltpoint.task.classification import Classification, ObjectiveError, build_objective
from meltpoint.task.objective import Objective

NAMES = ["a", "b", "c", "d"]


def head(class_weights: str = "none") -> LinearHead:
    fields: dict[str, Any] = {"class_weights": class_weights}
    return LinearHead(kind="linear", label="thing", tap="final", weight=1.0, main=True, **fields)


def labels(*names: str | None) -> "pd.Series[str]":
    return pd.Series(names, dtype="string")


def objective(
    n_classes: int, class_weights: str = "none", train: tuple[str, ...] = ("a", "a", "a", "b", "c", "d")
) -> Any:
    names = NAMES[:n_classes]
    made: Objective = build_objective(head(class_weights), names, labels(*(name for name in train if name in names)))
    return made


def example(n_outputs: int, n_classes: int, rows: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, n_outputs) * 3, torch.randint(0, n_classes, (rows,))


def test_two_classes_need_one_output_and_more_need_one_each() -> None:
    assert [objective(n).n_outputs for n in (2, 3, 4)] == [1, 3, 4]


def test_encode_gives_class_ids_and_minus_one_for_missing() -> None:
    assert objective(3).encode(labels("c", None, "a", "b")).tolist() == [2, -1, 0, 1]
    assert objective(3).encode(labels("c")).dtype == torch.int64


def test_encode_names_the_unknown_class_and_the_known_ones() -> None:
    with pytest.raises(ObjectiveError, match=r"\['z'\].*\['a', 'b'\]"):
        objective(2).encode(labels("a", "z"))


def test_one_class_is_refused() -> None:
    with pytest.raises(ObjectiveError, match="two or more"):
        build_objective(head(), ["a"], labels("a"))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_loss_is_torchs_cross_entropy(smoothing: float, class_weights: str) -> None:
    made: Classification = objective(4, class_weights)
    outputs, targets = example(4, 4)
    targets[2] = -1
    expected = cross_entropy(
        outputs, targets, made.class_weights, ignore_index=-1, label_smoothing=smoothing, reduction="mean"
    )
    torch.testing.assert_close(made.loss(outputs, targets, smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_of_two_classes_is_torchs_binary_cross_entropy(smoothing: float) -> None:
    outputs, targets = example(1, 2)
    wanted = targets.float() * (1 - smoothing) + smoothing / 2
    expected = binary_cross_entropy_with_logits(outputs[:, 0], wanted)
    torch.testing.assert_close(objective(2).loss(outputs, targets, smoothing), expected)


def test_weighted_loss_of_two_classes_is_torchs() -> None:
    made: Classification = objective(2, "balanced")
    outputs, targets = example(1, 2)
    expected = binary_cross_entropy_with_logits(
        outputs[:, 0], targets.float(), made.class_weights[targets], reduction="sum"
    )
    torch.testing.assert_close(made.loss(outputs, targets, 0.0), expected / made.class_weights[targets].sum())


def test_balanced_weights_are_scikit_learns() -> None:
    train = ("a", "a", "a", "b", "c", "d")
    expected = compute_class_weight("balanced", classes=np.array(NAMES), y=np.array(train))
    np.testing.assert_allclose(objective(4, "balanced", train).class_weights.numpy(), expected, rtol=1e-6)


def test_a_class_that_never_occurs_in_training_weighs_nothing() -> None:
    weights = objective(3, "balanced", ("a", "b")).class_weights
    assert weights.tolist() == pytest.approx([1 / 3 * 2, 1 / 3 * 2, 0])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_replicas_are_scored_apart(n_classes: int) -> None:
    made = objective(n_classes, "balanced")
    targets = torch.randint(-1, n_classes, (6,))
    outputs = torch.randn(2, 5, 6, made.n_outputs)
    losses = made.loss(outputs, targets, 0.1)
    assert losses.shape == (2, 5)
    torch.testing.assert_close(losses[1, 3], made.loss(outputs[1, 3], targets, 0.1))
    assert made.decode(outputs).shape == (2, 5, 6, n_classes)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_no_label_no_loss_and_no_gradient(n_classes: int) -> None:
    made = objective(n_classes)
    outputs = torch.randn(3, made.n_outputs, requires_grad=True)
    loss = made.loss(outputs, torch.full((3,), -1), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None
    assert not outputs.grad.any()


@given(logits=st.lists(st.floats(-40, 40), min_size=1, max_size=6))
def test_probabilities_sum_to_one_in_class_order(logits: list[float]) -> None:
    outputs = torch.tensor([logits])
    made = Classification(tuple("abcdef"), torch.ones(6))
    probabilities = made.decode(outputs)
    assert probabilities.shape[-1] == max(2, len(logits))
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-6)
    if len(logits) == 1:
        assert probabilities[0, 1].item() == pytest.approx(torch.sigmoid(outputs[0, 0]).item(), abs=1e-6)
    else:
        torch.testing.assert_close(probabilities, outputs.softmax(-1))


@given(extra=st.integers(0, 5), smoothing=st.floats(0, 1))
def test_rows_without_a_label_change_nothing(extra: int, smoothing: float) -> None:
    made = objective(3, "balanced")
    outputs, targets = example(3, 3)
    padded = torch.cat([outputs, torch.full((extra, 3), 99.0)]), torch.cat([targets, torch.full((extra,), -1)])
    torch.testing.assert_close(made.loss(*padded, smoothing), made.loss(outputs, targets, smoothing))


def test_half_precision_is_scored_in_full() -> None:
    outputs, targets = example(3, 3)
    assert objective(3).loss(outputs.bfloat16(), targets, 0.0).dtype == torch.float32
