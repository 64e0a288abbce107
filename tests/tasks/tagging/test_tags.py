"""What tags cost, what they are worth and when they are given, each against its definition."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch.nn.functional import binary_cross_entropy_with_logits

from meltpoint.compare import influence
from meltpoint.metrics import average_precision, from_tags
from meltpoint.params.heads import AsymmetricLoss, LinearHead, TagThresholds
from meltpoint.tables import holds_tags, read_tags, say_tags
from meltpoint.tasks.contract import ObjectiveError
from meltpoint.tasks.tagging.objective import build_objective, tag_loss
from meltpoint.tasks.tagging.tag_thresholds import choose_all, choose_best_f1, count_tags, given

NAMES = ["beach", "cat", "dog", "sea"]


def draw(images: int = 60, tags: int = 5, unknown: float = 0.2, seed: int = 0) -> tuple[Any, Any]:
    """Truth int8 (N, K) with cells that are not known, and values of few levels, so that many are equal."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((images, tags)) < 0.4).astype(np.int8)
    values = np.round(rng.random((images, tags)) * 0.6 + truth * 0.4, 1)
    return np.where(rng.random(truth.shape) < unknown, -1, truth).astype(np.int8), values


def make(**wishes: Any) -> Any:
    head = LinearHead(kind="linear", label="shown", **wishes)
    labels = pd.Series([say_tags(["beach", "sea"]), say_tags(["sea"], ["cat"]), None, say_tags([])], dtype="string")
    return build_objective(head, NAMES, labels, lambda: torch.zeros(0)), labels


def test_a_cell_says_what_is_there_what_is_not_and_what_is_not_known() -> None:
    cells = pd.Series([say_tags(["sea", "dog"], ["cat"]), say_tags([]), None], dtype="string")
    assert cells[0] == "|sea|dog|?cat|"
    assert holds_tags(cells)
    assert not holds_tags(pd.Series(["cat", None], dtype="string"))
    assert read_tags(cells, NAMES).tolist() == [[0, -1, 1, 1], [0] * 4, [-1] * 4]


def test_cross_entropy_is_torchs_and_leaves_out_what_is_not_known() -> None:
    objective, labels = make()
    targets = objective.encode(labels)
    outputs = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))  # of three heads at once
    known = targets >= 0
    for place, loss in enumerate(objective.loss(outputs, targets, 0.0)):
        wanted = binary_cross_entropy_with_logits(outputs[place][known], targets[known].float())
        torch.testing.assert_close(loss, wanted)
    assert objective.loss(outputs, torch.full_like(targets, -1), 0.1).tolist() == [0, 0, 0]


def test_the_asymmetric_loss_is_that_of_the_paper() -> None:
    wish = AsymmetricLoss(kind="asymmetric", gamma_pos=1, gamma_neg=4, clip=0.05)
    outputs, targets = torch.tensor([[2.0, -1.0, -4.0]]), torch.tensor([[1, 0, 0]])
    p = outputs.sigmoid()[0].tolist()
    moved = p[1] - 0.05
    wanted = [(1 - p[0]) * -np.log(p[0]), moved**4 * -np.log(1 - moved), 0.0]  # the last probability is below clip
    torch.testing.assert_close(tag_loss(outputs, targets, wish, 0.0)[0], torch.tensor(wanted, dtype=torch.float32))
    plain = AsymmetricLoss(kind="asymmetric", gamma_pos=0, gamma_neg=0, clip=0)
    torch.testing.assert_close(tag_loss(outputs, targets, plain, 0.1), tag_loss(outputs, targets, None, 0.1))


def test_an_image_counts_for_its_rarest_tag_where_tags_are_drawn_evenly() -> None:
    objective, labels = make(class_weights="balanced")
    assert objective.counts_for(objective.encode(labels)).tolist() == [0, 3, -1, -1]
    assert objective.class_weights.tolist() == pytest.approx([3 / 4, 0, 0, 3 / 8])


def test_a_tag_that_is_no_class_and_a_cell_of_one_class_are_refused() -> None:
    objective, _ = make()
    with pytest.raises(ObjectiveError, match="'bird'"):
        objective.encode(pd.Series(["|bird|"], dtype="string"))
    with pytest.raises(ObjectiveError, match="no list of tags"):
        objective.encode(pd.Series(["cat"], dtype="string"))


def test_average_precision_and_f1_are_those_of_scikit_learn_over_what_is_known() -> None:
    truth, values = draw()
    for place, area in enumerate(average_precision(truth, values)):
        known = truth[:, place] >= 0
        assert area == pytest.approx(average_precision_score(truth[known, place], values[known, place]))
    whole, scores = draw(unknown=0)
    found = from_tags(*count_tags(whole, scores > 0.5))
    for average in ("micro", "macro"):
        assert found[f"{average}_f1"] == pytest.approx(f1_score(whole, scores > 0.5, average=average))
    assert np.isnan(average_precision(np.zeros((3, 1), np.int8), np.ones((3, 1))))


@pytest.mark.parametrize("metric", ["map", "micro_f1", "macro_f1"])
def test_what_an_image_adds_is_the_score_less_the_one_without_it(metric: str) -> None:
    truth, values = draw()
    group, kept = np.arange(len(truth)), np.ones(truth.shape[1], np.bool_)

    def measure(rows: Any) -> Any:
        own, said = truth[rows], values[rows] > 0.5
        if metric == "map":
            return influence.average_precision(own, values[rows], group[: len(own)], len(own), range(truth.shape[1]))
        return influence.tag_f1(own, said, group[: len(own)], len(own), kept if metric == "macro_f1" else kept[:1])

    whole = measure(group)
    without = [measure(np.delete(group, row)).score for row in group]
    np.testing.assert_allclose(whole.groups, whole.score - np.array(without), atol=1e-12)


def test_the_threshold_of_the_best_f1_is_the_best_of_all() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        has = rng.random(40) < 0.3
        values = np.round(np.clip(has * 0.3 + rng.random(40) * 0.7, 0, 1), 2).astype(np.float32)
        found = choose_best_f1(values, has)
        assert found is not None
        f1 = [
            2 * (has & said).sum() / (has.sum() + said.sum()) for said in values > np.arange(-0.005, 1, 0.005)[:, None]
        ]
        said = values > np.float32(found)
        assert 2 * (has & said).sum() / (has.sum() + said.sum()) == pytest.approx(max(f1))
    assert choose_best_f1(values, np.zeros(40, np.bool_)) is None


def test_a_tag_without_evidence_has_a_half_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    truth = np.array([[1, 0], [0, 0], [1, 0]], np.int8)
    shares, groups = np.array([[0.9, 0.5], [0.2, 0.1], [0.6, 0.2]], np.float32), np.array(["a", "b", "c"], object)
    found = choose_all("shown", ["sea", "dog"], shares, truth, groups, TagThresholds(metric="f1"))
    assert found == pytest.approx([0.4, 0.5])
    assert "0.5 is the threshold of dog" in capsys.readouterr().out
    assert given(shares, found).tolist() == [[True, False], [False, False], [True, False]]  # a half is not above it
    wish = TagThresholds(metric="precision", at_least=0.9)
    assert choose_all("shown", ["sea", "dog"], shares, truth, groups, wish) == [0.5, 0.5]
    many, sure = np.tile(truth, (50, 1)), np.tile(shares, (50, 1))
    wished = choose_all("shown", ["sea", "dog"], sure, many, np.arange(150).astype(object), wish)
    assert wished == [pytest.approx(0.4), 0.5]
