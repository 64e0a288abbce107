from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, one_hot
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.functional.classification import multiclass_confusion_matrix

from meltpoint.params.heads import ClassWeights, DenseLinearHead
from meltpoint.tables import IGNORED
from meltpoint.tasks.contract import ObjectiveError
from meltpoint.tasks.segmentation.objective import (
    Pixels,
    build_objective,
    count_ids,
    count_outputs,
    count_pixels,
    decode,
)

NAMES = ["sky", "road", "pole"]
TRAIN = pd.Series(["sky|road", "sky|road|pole", "sky|road", None, "sky"], dtype="string")


def head(class_weights: ClassWeights = "none", dice: float = 0.0) -> DenseLinearHead:
    return DenseLinearHead(
        kind="dense_linear", label="scene", taps=(-1,), weight=1.0, class_weights=class_weights, dice=dice, main=True
    )


def never() -> torch.Tensor:
    raise AssertionError("nothing asks for pixels")


def pixels() -> torch.Tensor:
    counts = torch.zeros(256, dtype=torch.int64)
    counts[:3] = torch.tensor([600, 300, 100])
    counts[IGNORED] = 50
    return counts


def objective(class_weights: ClassWeights = "none", dice: float = 0.0) -> Pixels:
    made = build_objective(head(class_weights, dice), NAMES, TRAIN, pixels)
    assert isinstance(made, Pixels)
    return made


def example(images: int = 4, *leading: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(*leading, images, 3, 5, 6, generator=generator) * 2
    masks = torch.randint(0, 3, (images, 5, 6), dtype=torch.uint8, generator=generator)
    masks[torch.rand(masks.shape, generator=generator) < 0.2] = IGNORED
    return outputs, masks


def test_an_output_for_each_class() -> None:
    assert objective().n_outputs == count_outputs(3, "nominal") == 3
    assert count_outputs(2, "nominal") == 2


def test_an_image_counts_for_the_class_that_fewest_show() -> None:
    cells = pd.Series(["sky|road|pole", "sky|road", "sky", None, "pole|sky"], dtype="string")
    assert objective().encode(cells).tolist() == [2, 1, 0, -1, 2]


def test_unknown_classes_are_told() -> None:
    with pytest.raises(ObjectiveError, match=r"\['lake'\].*known are \['sky', 'road', 'pole'\]"):
        objective().encode(pd.Series(["sky|lake"], dtype="string"))
    with pytest.raises(ObjectiveError, match="'rod'.*Did you mean 'road'"):
        objective({"rod": 2.0})
    with pytest.raises(ObjectiveError, match="two or more"):
        build_objective(head(), ["sky"], TRAIN, never)


def test_balanced_weights_are_of_pixels() -> None:
    weights = objective("balanced").class_weights
    torch.testing.assert_close(weights, 1000 / (3 * torch.tensor([600.0, 300, 100])))
    assert objective({"pole": 5.0}).class_weights.tolist() == [1, 1, 5]
    unweighted = build_objective(head("none"), NAMES, TRAIN, never)
    assert isinstance(unweighted, Pixels)
    assert unweighted.class_weights.tolist() == [1, 1, 1]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_loss_is_torchs_cross_entropy(smoothing: float, weights: ClassWeights) -> None:
    made, (outputs, masks) = objective(weights), example()
    wanted = cross_entropy(outputs, masks.long(), made.class_weights, ignore_index=IGNORED, label_smoothing=smoothing)
    torch.testing.assert_close(made.loss(outputs, masks, smoothing), wanted)


def test_dice_is_added_over_the_classes_that_occur() -> None:
    outputs, masks = example()
    masks[masks == 2] = 1
    known = masks != IGNORED
    probabilities = outputs.softmax(1).movedim(1, -1)[known]  # (P, C)
    truth = one_hot(masks[known].long(), 3)
    shares = 2 * (probabilities * truth).sum(0) / (probabilities.square().sum(0) + truth.sum(0))
    wanted = objective().loss(outputs, masks, 0.0) + 0.7 * (1 - shares[:2].mean())
    torch.testing.assert_close(objective(dice=0.7).loss(outputs, masks, 0.0), wanted)


def test_sure_and_right_is_no_loss() -> None:
    _, masks = example()
    sure = one_hot(masks.long().clamp(max=2), 3).movedim(-1, 1) * 50.0
    assert objective(dice=1.0).loss(sure, masks, 0.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dice", [0.0, 0.5])
def test_replicas_are_scored_apart(dice: float) -> None:
    made, (outputs, masks) = objective("balanced", dice), example(3, 2, 5)
    losses = made.loss(outputs, masks, 0.1)
    assert losses.shape == (2, 5)
    torch.testing.assert_close(losses[1, 3], made.loss(outputs[1, 3], masks, 0.1))
    assert made.decode(outputs).shape == outputs.shape
    assert count_pixels(outputs, masks).shape == (2, 5, 3, 3, 3)


@pytest.mark.parametrize("dice", [0.0, 0.5])
def test_void_pixels_give_no_loss_and_no_gradient(dice: float) -> None:
    made, (outputs, masks) = objective(dice=dice), example()
    outputs.requires_grad_(True)
    masks[1:] = IGNORED
    masks[0, 2:] = IGNORED
    loss = made.loss(outputs, masks, 0.1)
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad[0, :, :2].any()
    assert not outputs.grad[1:].any()
    assert not outputs.grad[0, :, 2:].any()
    nothing = made.loss(outputs.detach(), torch.full_like(masks, IGNORED), 0.1)
    assert nothing.item() == 0


def test_probabilities_are_in_class_order() -> None:
    outputs, _ = example()
    probabilities = decode(outputs.bfloat16(), head())
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4, 5, 6))
    assert torch.equal(objective().decode(outputs), decode(outputs, head()))


def test_pairs_are_counted_per_image_as_torchmetrics_does() -> None:
    outputs, masks = example()
    counted = count_pixels(outputs, masks)
    assert counted.dtype == torch.int64
    assert torch.equal(counted, count_ids(outputs.argmax(1), masks, 3))
    for own, answers, true in zip(counted, outputs.argmax(1), masks, strict=True):
        assert torch.equal(own, multiclass_confusion_matrix(answers, true.long(), 3, ignore_index=IGNORED))


def score(made: Any, outputs: torch.Tensor, masks: torch.Tensor, parts: list[int]) -> dict[str, Any]:
    tally = made.tally()
    for own, true in zip(outputs.split(parts, -4), masks.split(parts), strict=True):
        tally.add(own, true)
    scores: dict[str, Any] = tally.scores(lambda rows: rows)
    return scores


@settings(deadline=None)
@given(parts=st.permutations([1, 2, 5, 0]))
def test_batches_do_not_matter(parts: list[int]) -> None:
    made, (outputs, masks) = objective("balanced", 0.5), example(8, 2)
    whole, cut = score(made, outputs, masks, [8]), score(made, outputs, masks, parts)
    assert set(whole) == {"loss", "miou", "dice", "pixel_accuracy"}
    for name, values in whole.items():
        np.testing.assert_allclose(cut[name], values, rtol=1e-6)
        np.testing.assert_allclose(values[1], score(made, outputs[1], masks, [8])[name], rtol=1e-6)


def test_a_tally_does_not_grow() -> None:
    made, (outputs, masks) = objective("balanced", 0.5), example(8, 2)
    tally, sizes = made.tally(), set()
    for _ in range(3):
        tally.add(outputs, masks)
        sizes.add(sum(total.numel() for total in tally.totals))
    assert len(sizes) == 1
    assert max(sizes) < outputs.numel() / 10


def test_a_tally_gives_the_loss_and_torchmetrics_iou() -> None:
    made, (outputs, masks) = objective("balanced", 0.5), example(8)
    scores = score(made, outputs, masks, [3, 5])
    assert float(scores["loss"]) == pytest.approx(made.loss(outputs, masks, 0.0).item(), rel=1e-6)
    wanted = MulticlassJaccardIndex(3, ignore_index=IGNORED)(outputs, masks.long())
    assert float(scores["miou"]) == pytest.approx(float(wanted), abs=1e-6)


def test_processes_are_summed() -> None:
    made, (outputs, masks) = objective("balanced", 0.5), example(8)
    first, second = made.tally(), made.tally()
    first.add(outputs[:5], masks[:5])
    second.add(outputs[5:], masks[5:])
    others = iter(second.totals)
    joined = first.scores(lambda rows: torch.cat([rows, next(others)[None]]))
    whole = score(made, outputs, masks, [8])
    assert {name: float(value) for name, value in joined.items()} == pytest.approx(
        {name: float(value) for name, value in whole.items()}
    )
