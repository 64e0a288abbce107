"""Scores of masks are those of torchmetrics over all pixels of a split; what cannot be known is None."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex, MulticlassPrecision, MulticlassRecall

from meltpoint.tables import IGNORED
from meltpoint.tasks.segmentation.metrics import judge_head, judge_heads
from meltpoint.tasks.segmentation.pixel_counts import commonest_error, score_borders, score_images

NAMES = ["a", "b", "c", "never", "said only"]
SCORES = {
    "iou": MulticlassJaccardIndex, "dice": MulticlassF1Score, "precision": MulticlassPrecision,
    "recall": MulticlassRecall,
}  # fmt: skip


def random_masks(seed: int, images: int = 6, size: int = 20) -> tuple[Any, Any]:
    """A class that never is, one that is only said, another number of void pixels in each image."""
    rng = np.random.default_rng(seed)
    true = rng.choice(3, (images, size, size), p=[0.6, 0.3, 0.1]).astype(np.uint8)
    said = np.where(rng.random(true.shape) < 0.3, rng.choice([0, 1, 2, 4], true.shape), true).astype(np.uint8)
    true[rng.random(true.shape) < rng.random((images, 1, 1)) / 2] = IGNORED
    return true, said


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_scores_are_those_of_torchmetrics(tabulate: Any, mask_card: Any, seed: int) -> None:
    true, said = random_masks(seed)
    judged = judge_head(tabulate(np.arange(6), "test", true, said, {"scene": NAMES}), "scene", mask_card(NAMES))
    asked = torch.from_numpy(said.astype(np.int64)), torch.from_numpy(true.astype(np.int64))
    for name, metric in SCORES.items():
        theirs = metric(num_classes=5, average="none", ignore_index=IGNORED)(*asked).numpy()
        assert np.nan_to_num(judged.by_class[name].to_numpy()) == pytest.approx(theirs, abs=1e-6), name
    for name in ("iou", "dice"):
        each = SCORES[name](num_classes=5, average="none", ignore_index=IGNORED)(*asked).numpy()
        shown = np.isin(np.arange(5), true)
        assert judged.scores[{"iou": "miou"}.get(name, name)] == pytest.approx(each[shown].mean(), abs=1e-6)
    known = true != IGNORED
    assert judged.scores["pixel_accuracy"] == pytest.approx((said == true)[known].mean())
    assert judged.confusion.sum() == known.sum()


def test_images_are_added_up_however_they_are_split(tabulate: Any, mask_card: Any) -> None:
    true, said = random_masks(3, images=8)
    whole = tabulate(np.arange(8), "test", true, said, {"scene": NAMES})
    long = tabulate(np.arange(1), "test", np.hstack(list(true))[None], np.hstack(list(said))[None], {"scene": NAMES})
    one, other = (judge_head(table, "scene", mask_card(NAMES)).scores for table in (whole, long))
    assert {name: one[name] for name in ("miou", "dice", "pixel_accuracy")} == pytest.approx(
        {name: other[name] for name in ("miou", "dice", "pixel_accuracy")}
    )


def test_a_perfect_answer_is_perfect(scenes: Any) -> None:
    made = scenes(images=4, errors=0.0)
    judgement = judge_heads(made.table, made.card.heads)
    judged = judgement.splits["test"]["scene"]
    scores = {name: value for name, value in judged.scores.items() if name != "boundary_f1"}
    assert scores == {"miou": 1.0, "dice": 1.0, "pixel_accuracy": 1.0}
    assert judged.scores["boundary_f1"] == pytest.approx(1, abs=0.02)
    assert judgement.sentence("scene") == "100.0% mean IoU on scene, 4 test images (100.0% on val)"


def test_classes_that_no_one_saw_are_unknown(tabulate: Any, mask_card: Any) -> None:
    judged = judge_head(tabulate(np.arange(6), "test", *random_masks(1), {"scene": NAMES}), "scene", mask_card(NAMES))
    never, said = (judged.metrics["classes"][name] for name in ("never", "said only"))
    assert never == dict.fromkeys(["iou", "dice", "precision", "recall", "boundary_f1"]) | {"support": 0}
    assert (said["iou"], said["precision"], said["recall"], said["support"]) == (0, 0, None, 0)
    assert judged.absent == ["never", "said only"]
    assert judged.metrics["absent_classes"] == 2
    assert judged.metrics["threshold"] is judged.metrics["unknown"] is None


def test_nothing_labelled_is_none(tabulate: Any, mask_card: Any) -> None:
    void = np.full((2, 8, 8), IGNORED, np.uint8)
    parts = [tabulate(np.arange(2), split, void, np.zeros_like(void), {"scene": NAMES}) for split in ("val", "test")]
    judgement = judge_heads(pd.concat(parts, ignore_index=True), {"scene": mask_card(NAMES)})
    found = judgement.metrics["test"]["scene"]
    assert [found[name] for name in ("images", "miou", "dice", "pixel_accuracy", "boundary_f1")] == [0, *[None] * 4]
    assert "so it has no scores" in judgement.sentence("scene")
    assert json.dumps(judgement.metrics, allow_nan=False)


def test_metrics_have_the_nesting_of_every_task(scenes: Any) -> None:
    made = scenes(images=3)
    judgement = judge_heads(made.table, made.card.heads)
    assert list(judgement.metrics) == ["val", "test"]
    assert list(judgement.summary["val"]["scene"]) == ["miou", "pixel_accuracy"]
    assert judgement.summary["val"]["scene"]["miou"] == judgement.metrics["val"]["scene"]["miou"]
    assert list(judgement.metrics["val"]["scene"]["classes"]) == ["sky", "road", "car", "person"]


def test_borders_are_scored_from_sums() -> None:
    counts = np.array([[10, 4, 0, 7, 0], [5, 4, 0, 0, 0], [20, 4, 0, 0, 6], [20, 4, 0, 0, 0]])
    found = score_borders(counts)
    assert found[:2] == pytest.approx([2 * 0.5 * 1 / 1.5, 1])
    assert np.isnan(found[2])
    assert found[3:].tolist() == [0, 0]


def test_images_are_ranked_by_their_own_iou(scenes: Any) -> None:
    made = scenes(images=8, errors=0.5)
    scored = score_images(made.table, "scene", made.card.classes["scene"])
    assert scored["iou"].is_monotonic_increasing
    assert set(scored["id"]) == set(made.ids[-8:])
    for number, iou in zip(scored["id"], scored["iou"], strict=True):
        true, said = (torch.from_numpy(masks[number - 10].astype(np.int64)) for masks in (made.true, made.said))
        metric = MulticlassJaccardIndex(num_classes=4, average="macro", ignore_index=IGNORED)
        assert iou == pytest.approx(metric(said[None], true[None]).item(), abs=1e-6)


def test_the_commonest_error_is_told(tabulate: Any) -> None:
    true, said = np.zeros((2, 10, 10), np.uint8), np.zeros((2, 10, 10), np.uint8)
    said[1, :3], said[1, 3] = 2, 1
    told = commonest_error(tabulate(np.array([5, 6]), "test", true, said, {"scene": NAMES}), "scene", NAMES)
    assert told == {5: "none", 6: "a read as c, 30.0% of the pixels"}
