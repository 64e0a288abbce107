import pytest
import torch

from meltpoint.tasks.class_weights import balanced_weights, weigh_classes
from meltpoint.tasks.contract import ObjectiveError

CLASSES = ["sky", "road"]


def never() -> torch.Tensor:
    raise AssertionError("counting may take long, and nothing asks for it")


def test_counts_are_asked_for_where_they_are_needed() -> None:
    assert weigh_classes("none", CLASSES, never).tolist() == [1, 1]
    assert weigh_classes({"road": 3.0}, CLASSES, never).tolist() == [1, 3]
    assert weigh_classes("balanced", CLASSES, lambda: torch.tensor([3, 1])).tolist() == pytest.approx([4 / 6, 2])


def test_a_class_that_never_occurs_weighs_nothing() -> None:
    assert balanced_weights(torch.tensor([5, 0])).tolist() == [0.5, 0]


def test_a_weight_of_no_class_is_told() -> None:
    with pytest.raises(ObjectiveError, match=r"'raod'.*\['sky', 'road'\].*Did you mean 'road'.*Correct it in heads"):
        weigh_classes({"raod": 1.0}, CLASSES, never)
