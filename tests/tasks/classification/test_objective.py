from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from meltpoint.params.heads import ClassWeights, LinearHead, Target, Threshold
from meltpoint.tasks.classification.objective import (
    ClassObjective,
    build_objective,
    count_outputs,
    decode,
    decode_ordinal,
)
from meltpoint.tasks.contract import Objective, ObjectiveError

NAMES = ["a", "b", "c", "d"]
TARGETS: list[Target] = ["nominal", "ordinal"]


def head(class_weights: ClassWeights = "none", target: Target = "nominal") -> LinearHead:
    fields: dict[str, Any] = {"class_weights": class_weights, "target": target, "where": None}
    fields |= {"threshold": None, "unknown": None}
    return LinearHead(kind="linear", label="thing", tap="final", weight=1.0, main=True, **fields)


def labels(*names: str | None) -> "pd.Series[str]":
    return pd.Series(names, dtype="string")


def never() -> torch.Tensor:
    raise AssertionError("a class of each image is asked for no pixels")


def objective(
    n_classes: int,
    class_weights: ClassWeights = "none",
    train: tuple[str, ...] = ("a", "a", "a", "b", "c", "d"),
    target: Target = "nominal",
) -> Any:
    names = NAMES[:n_classes]
    known = labels(*(name for name in train if name in names))
    made: Objective = build_objective(head(class_weights, target), names, known, never)
    return made


def example(n_outputs: int, n_classes: int, rows: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, n_outputs) * 3, torch.randint(0, n_classes, (rows,))


def test_two_classes_need_one_output_and_more_need_one_each() -> None:
    assert [objective(n).n_outputs for n in (2, 3, 4)] == [1, 3, 4]
    assert [count_outputs(n, "nominal") for n in (2, 3, 4)] == [1, 3, 4]


def test_steps_need_one_output_each() -> None:
    assert [objective(n, target="ordinal").n_outputs for n in (2, 3, 4)] == [1, 2, 3]
    assert [count_outputs(n, "ordinal") for n in (2, 3, 4)] == [1, 2, 3]


def test_encode_gives_class_ids_and_minus_one_for_missing() -> None:
    assert objective(3).encode(labels("c", None, "a", "b")).tolist() == [2, -1, 0, 1]
    assert objective(3).encode(labels("c")).dtype == torch.int64


def test_encode_names_the_unknown_class_and_the_known_ones() -> None:
    with pytest.raises(ObjectiveError, match=r"\['z'\].*\['a', 'b'\]"):
        objective(2).encode(labels("a", "z"))


def test_one_class_is_refused() -> None:
    with pytest.raises(ObjectiveError, match="two or more"):
        build_objective(head(), ["a"], labels("a"), never)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_loss_is_torchs_cross_entropy(smoothing: float, class_weights: str) -> None:
    made: ClassObjective = objective(4, class_weights)
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
    made: ClassObjective = objective(2, "balanced")
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


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_replicas_are_scored_apart(n_classes: int, target: Target) -> None:
    made = objective(n_classes, "balanced", target=target)
    targets = torch.randint(-1, n_classes, (6,))
    outputs = torch.randn(2, 5, 6, made.n_outputs)
    losses = made.loss(outputs, targets, 0.1)
    assert losses.shape == (2, 5)
    torch.testing.assert_close(losses[1, 3], made.loss(outputs[1, 3], targets, 0.1))
    assert made.decode(outputs).shape == (2, 5, 6, n_classes)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_no_label_no_loss_and_no_gradient(n_classes: int, target: Target) -> None:
    made = objective(n_classes, target=target)
    outputs = torch.randn(3, made.n_outputs, requires_grad=True)
    loss = made.loss(outputs, torch.full((3,), -1), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None
    assert not outputs.grad.any()


@given(logits=st.lists(st.floats(-40, 40), min_size=1, max_size=6))
def test_probabilities_sum_to_one_in_class_order(logits: list[float]) -> None:
    outputs = torch.tensor([logits])
    made = ClassObjective(tuple("abcdef"), torch.ones(6), "nominal")
    probabilities = made.decode(outputs)
    assert probabilities.shape[-1] == max(2, len(logits))
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-6)
    if len(logits) == 1:
        assert probabilities[0, 1].item() == pytest.approx(torch.sigmoid(outputs[0, 0]).item(), abs=1e-6)
    else:
        torch.testing.assert_close(probabilities, outputs.softmax(-1))


@pytest.mark.parametrize("target", TARGETS)
@given(extra=st.integers(0, 5), smoothing=st.floats(0, 1))
def test_rows_without_a_label_change_nothing(target: Target, extra: int, smoothing: float) -> None:
    made = objective(3, "balanced", target=target)
    outputs, targets = example(made.n_outputs, 3)
    more = torch.full((extra, made.n_outputs), 99.0)
    padded = torch.cat([outputs, more]), torch.cat([targets, torch.full((extra,), -1)])
    torch.testing.assert_close(made.loss(*padded, smoothing), made.loss(outputs, targets, smoothing))


@pytest.mark.parametrize("target", TARGETS)
def test_half_precision_is_scored_in_full(target: Target) -> None:
    made = objective(3, target=target)
    outputs, targets = example(made.n_outputs, 3)
    assert made.loss(outputs.bfloat16(), targets, 0.0).dtype == torch.float32
    assert made.decode(outputs.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("target", TARGETS)
def test_a_saved_heads_outputs_are_read_as_in_training(target: Target) -> None:
    made = objective(4, target=target)
    outputs, _ = example(made.n_outputs, 4)
    assert torch.equal(decode(outputs, head(target=target)), made.decode(outputs))


def test_named_weights_are_used_and_others_are_one() -> None:
    made = objective(3, {"b": 2.5})
    assert made.class_weights.tolist() == [1, 2.5, 1]
    outputs, targets = example(3, 3)
    expected = cross_entropy(outputs, targets, torch.tensor([1, 2.5, 1]))
    torch.testing.assert_close(made.loss(outputs, targets, 0.0), expected)


def test_a_weight_for_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(ObjectiveError, match="'brokn'.*Did you mean 'broken'"):
        build_objective(head({"brokn": 2.0}), ["whole", "broken"], labels("whole"), never)


def test_a_threshold_needs_two_classes() -> None:
    wish = Threshold(metric="recall", at_least=0.9)
    wanting = head().model_copy(update={"threshold": wish})
    assert build_objective(wanting, ["a", "b"], labels("a"), never).n_outputs == 1
    with pytest.raises(ObjectiveError, match="threshold, and 3 classes"):
        build_objective(wanting, ["a", "b", "c"], labels("a"), never)


# steps in their order: CORN


def corn_loss(logits: torch.Tensor, targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """As the paper has it: for each step the images that reached it, all their terms over all their number."""
    total, count = torch.zeros(()), 0
    for step in range(n_classes - 1):
        chosen = targets > step - 1
        answers = (targets[chosen] > step).float()
        total = total + binary_cross_entropy_with_logits(logits[chosen, step], answers, reduction="sum")
        count += int(chosen.sum())
    return total / count


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_ordinal_loss_is_the_papers(n_classes: int) -> None:
    outputs, targets = example(n_classes - 1, n_classes)
    made = objective(n_classes, target="ordinal")
    torch.testing.assert_close(made.loss(outputs, targets, 0.0), corn_loss(outputs, targets, n_classes))


def test_ordinal_loss_is_the_likelihood_of_what_is_decoded() -> None:
    """Up to the number of questions that were asked: y + 1 of a row of class y, but C - 1 of the last class."""
    outputs, targets = example(3, 4)
    made = objective(4, target="ordinal")
    questions = (targets + 1).clamp(max=3).sum()
    likelihood = -made.decode(outputs)[torch.arange(len(targets)), targets].log().sum()
    torch.testing.assert_close(made.loss(outputs, targets, 0.0) * questions, likelihood)


def test_ordinal_rows_weigh_as_their_class() -> None:
    """Whole weights are as good as copies of the rows."""
    outputs, targets = example(2, 3)
    times = torch.tensor([3, 1, 2])
    repeated = torch.repeat_interleave(torch.arange(len(targets)), times[targets])
    weighted = objective(3, {"a": 3.0, "c": 2.0}, target="ordinal").loss(outputs, targets, 0.1)
    plain = objective(3, target="ordinal").loss(outputs[repeated], targets[repeated], 0.1)
    torch.testing.assert_close(weighted, plain)


@pytest.mark.parametrize(("class_weights", "smoothing"), [("none", 0.0), ("none", 0.3), ("balanced", 0.0)])
def test_two_ordinal_classes_are_two_classes(class_weights: ClassWeights, smoothing: float) -> None:
    nominal, ordinal = (objective(2, class_weights, target=target) for target in TARGETS)
    outputs, targets = example(1, 2)
    torch.testing.assert_close(ordinal.loss(outputs, targets, smoothing), nominal.loss(outputs, targets, smoothing))
    torch.testing.assert_close(ordinal.decode(outputs), nominal.decode(outputs))


@given(logits=st.lists(st.floats(-40, 40), min_size=1, max_size=6))
def test_ordinal_probabilities_are_running_products(logits: list[float]) -> None:
    probabilities = decode_ordinal(torch.tensor([logits]))[0].double()
    assert (probabilities >= 0).all()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-6)
    beyond = 1.0
    for step, logit in enumerate(logits):
        beyond *= 1 / (1 + np.exp(-logit))
        assert probabilities[step + 1 :].sum().item() == pytest.approx(beyond, abs=1e-6)


def test_steps_are_learnt_in_their_order() -> None:
    """A linear head over one feature that grows with the class."""
    rng = np.random.default_rng(0)
    targets = torch.from_numpy(rng.integers(0, 4, 400))
    features = (targets + torch.from_numpy(rng.normal(0, 0.2, 400))).float()[:, None]
    made, layer = ClassObjective(tuple(NAMES), torch.ones(4), "ordinal"), torch.nn.Linear(1, 3)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.2)
    for _ in range(300):
        optimiser.zero_grad()
        made.loss(layer(features), targets, 0.0).backward()
        optimiser.step()
    answers = made.decode(layer(features)).argmax(-1)
    assert (answers == targets).float().mean() > 0.95
