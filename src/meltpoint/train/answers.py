"""How a trained model answers: where the second of two classes begins, and what it is too unsure of, learnt on val."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from meltpoint.images.views import Views
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer
from meltpoint.model.model import Model
from meltpoint.params.model import Threshold
from meltpoint.progress import say, track
from meltpoint.task.thresholds import choose_threshold, choose_unknown
from meltpoint.train.device import device_type
from meltpoint.train.goal import Goal
from meltpoint.trees import build_tree, decide, rate

BATCH = 64  # images in memory at once; nothing else depends on it

Numbers = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Learnt:
    """Of a head, as in its card; None where nothing was wished, or nothing was found."""

    threshold: float | None
    unknown_below: float | None


def learn_answers(model: Model, goal: Goal, views: Views) -> dict[str, Learnt]:
    """What each head wishes, from the model's probabilities on the plain views of val; says what was found.

    Rows that a head has no target for count for nothing. Heads in a tree are judged by the path they decide together.
    """
    if not any(head.threshold or head.unknown is not None for head in goal.heads.values()):
        return dict.fromkeys(goal.heads, Learnt(None, None))
    probabilities = predict_val(model, goal, views)
    true = {name: targets.numpy() for name, targets in goal.val.targets.items()}
    thresholds: dict[str, float | None] = dict.fromkeys(goal.heads)
    for name, head in goal.heads.items():
        if head.threshold is not None:
            values = probabilities[name][true[name] >= 0, 1]
            is_second = true[name][true[name] >= 0] == 1
            thresholds[name] = _learn_threshold(name, goal.classes[name][1], values, is_second, head.threshold)
    tree = build_tree(goal.tree.levels, goal.tree.parents, goal.classes) if goal.tree else None
    answers = decide(probabilities, thresholds, tree)
    rated = rate(probabilities, answers, tree)
    unknown: dict[str, float | None] = dict.fromkeys(goal.heads)
    for name, head in goal.heads.items():
        if head.unknown is not None:
            known = true[name] >= 0
            unknown[name] = _learn_unknown(name, rated[name][known], (answers[name] == true[name])[known], head.unknown)
    return {name: Learnt(thresholds[name], unknown[name]) for name in goal.heads}


def predict_val(model: Model, goal: Goal, views: Views) -> Mapping[str, Numbers]:
    """Probabilities float32 (n_val, C) of each head, as the saved model will give them."""
    device = torch.device(device_type())
    fused, store = fuse(model).to(device), goal.store(views.plain, None, 0)
    parts: dict[str, list[Numbers]] = {name: [] for name in goal.heads}
    for start in track(range(0, len(goal.val.rows), BATCH), "answers on val", unit="batch"):
        images = torch.from_numpy(store.read_plain(goal.val.rows[start : start + BATCH]))
        for name, outputs in infer(fused, images, device).items():
            parts[name].append(goal.objectives[name].decode(outputs).cpu().numpy())
    return {name: np.concatenate(own) for name, own in parts.items()}


def _learn_threshold(head: str, second: str, probabilities: Numbers, is_second: Flags, wish: Threshold) -> float | None:
    point = choose_threshold(probabilities, is_second, wish)
    if point.value is None:
        say(
            f"warning: no image of val is {second!r}, so heads.{head}.threshold finds nothing. The more probable class"
            " is the answer. Label some, or set it to null."
        )
        return None
    found = f"{head} answers {second!r} from a probability of {point.value:.4g} on"
    if point.reached < wish.at_least:
        say(
            f"warning: heads.{head}.threshold wants a {wish.metric} of {wish.at_least:g}, which no threshold gives on"
            f" val. {found}, which comes nearest: {point.reached:.3f}. Want less, or train a better model."
        )
    else:
        say(f"{found}: {wish.metric} {point.reached:.3f} on val, and {wish.at_least:g} is wanted")
    return point.value


def _learn_unknown(head: str, confidences: Numbers, is_right: Flags, share: float) -> float | None:
    point = choose_unknown(confidences, is_right, share)
    if point.value is None:
        say(
            f"warning: heads.{head}.unknown wants {share:g} of the answers to be right, and on val {point.reached:.3f}"
            " are at best, however sure they are. No answer is called unknown. Want less, or train a better model."
        )
        return None
    kept = float((confidences >= point.value).mean())
    say(
        f"{head} is unknown below a probability of {point.value:.4g}: {kept:.1%} of its answers on val are above, and"
        f" {point.reached:.3f} of these are right; {share:g} is wanted"
    )
    return point.value
