"""How a trained model answers: where the second of two classes begins, and what it is too unsure of, learnt on val."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from meltpoint.arrays import Ints
from meltpoint.images.views import Views
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer
from meltpoint.model.model import Model
from meltpoint.params.model import Coverage
from meltpoint.progress import track
from meltpoint.tasks.thresholds import choose_purest, choose_set, choose_threshold
from meltpoint.train.calibration_messages import say_set, say_threshold, say_unknown
from meltpoint.train.device import device_type
from meltpoint.train.problem import Problem
from meltpoint.trees import build_tree, decide, weigh

BATCH = 64  # images in memory at once; nothing else depends on it

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class Calibration:
    """Of a head, as in its card; None where nothing was wished, or val could not show it."""

    threshold: float | None
    unknown_below: float | None


def calibrate(model: Model, problem: Problem, views: Views) -> dict[str, Calibration]:
    """What each head wishes, from the model's probabilities on the plain views of val; says what was found.

    Rows that a head has no target for count for nothing, and a group of images counts once. Heads in a tree are judged
    by the path they decide together.
    """
    if not any(head.threshold or head.unknown is not None for head in problem.heads.values()):
        return dict.fromkeys(problem.heads, Calibration(None, None))
    probabilities = predict_val(model, problem, views)
    true = {name: targets.numpy() for name, targets in problem.val.targets.items()}
    groups = views.samples["group"].to_numpy()[problem.val.rows]
    thresholds = {
        name: _learn_threshold(name, problem, probabilities[name], true[name], groups) for name in problem.heads
    }
    tree = build_tree(problem.tree.levels, problem.tree.parents, problem.classes) if problem.tree else None
    answers, shown = decide(probabilities, thresholds, tree), weigh(probabilities, tree)
    return {
        name: Calibration(
            thresholds[name], _learn_unknown(name, problem, shown[name], answers[name], true[name], groups)
        )
        for name in problem.heads
    }


def predict_val(model: Model, problem: Problem, views: Views) -> Mapping[str, Numbers]:
    """Probabilities float32 (n_val, C) of each head, as the saved model will give them."""
    device = torch.device(device_type())
    fused, store = fuse(model).to(device), problem.store(views.plain, None, 0)
    parts: dict[str, list[Numbers]] = {name: [] for name in problem.heads}
    for start in track(range(0, len(problem.val.rows), BATCH), "answers on val", unit="batch"):
        images = torch.from_numpy(store.read_plain(problem.val.rows[start : start + BATCH]))
        for name, outputs in infer(fused, images, device).items():
            parts[name].append(problem.objectives[name].decode(outputs).cpu().numpy())
    return {name: np.concatenate(own) for name, own in parts.items()}


def one_of_each(groups: NDArray[np.object_]) -> Ints:
    """The places, rising, of one row of each group (N,), drawn at random, always the same one of the same rows.

    What belongs together is no further evidence, and one image of each group is as good as drawn by itself.
    """
    order = np.random.default_rng(0).permutation(len(groups))
    return np.sort(order[np.unique(groups[order].astype(str), return_index=True)[1]])


def _learn_threshold(
    name: str, problem: Problem, probabilities: Numbers, true: Ints, groups: NDArray[np.object_]
) -> float | None:
    wish = problem.heads[name].threshold
    if wish is None:
        return None
    known = np.flatnonzero(true >= 0)
    if wish.metric == "recall":  # of the images of the second class
        seconds = np.flatnonzero(true == 1)
        kept = np.concatenate([seconds[one_of_each(groups[seconds])], np.flatnonzero(true == 0)])
    else:
        kept = known[one_of_each(groups[known])]
    point = choose_threshold(probabilities[kept, 1], true[kept] == 1, wish)
    say_threshold(name, problem.classes[name], wish, point, probabilities[known, 1], true[known] == 1)
    return point.value


def _learn_unknown(
    name: str, problem: Problem, shown: Numbers, answers: Ints, true: Ints, groups: NDArray[np.object_]
) -> float | None:
    wish, known = problem.heads[name].unknown, np.flatnonzero(true >= 0)
    if wish is None:
        return None
    one, rows = known[one_of_each(groups[known])], np.arange(len(true))
    said, right = shown[rows, answers], answers == true
    if isinstance(wish, Coverage):
        point = choose_set(shown[one, true[one]], wish.coverage)
        say_set(name, wish.coverage, point, shown[known], said[known], right[known])
    else:
        point = choose_purest(said[one], right[one], wish)
        say_unknown(name, wish, point, said[known], right[known])
    return point.value
