"""How a trained model answers: where the second of two classes begins, and what it is too unsure of, learned on val.

What was found is printed: what holds for new images, what it costs, and why a wish cannot be promised.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from meltpoint.arrays import Flags, Ints
from meltpoint.images.views import Views
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer
from meltpoint.model.model import Model
from meltpoint.params.heads import Coverage
from meltpoint.progress import track
from meltpoint.tasks.thresholds import (
    CONFIDENCE,
    Point,
    choose_purest,
    choose_set,
    choose_threshold,
    most_promised,
    one_of_each,
)
from meltpoint.terminal import say
from meltpoint.train.device import device_type
from meltpoint.train.problem import Problem
from meltpoint.trees import build_tree, decide, weigh

BATCH = 64  # images in memory at once; nothing else depends on it
SURE = f"with {CONFIDENCE:.0%} confidence"

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class Calibration:
    """Of a head, as in its card; None where nothing was asked for, or val could not show it."""

    threshold: float | None
    unknown_below: float | None
    thresholds: list[float] | None = None  # of each tag


def calibrate(model: Model, problem: Problem, views: Views) -> dict[str, Calibration]:
    """What each head asks for, from the model's probabilities on the plain views of val; prints what was found.

    Rows without a target for a head do not count, and a group of images counts once. Heads in a tree are judged by the
    path they decide together.
    """
    if not any(head.threshold or head.unknown is not None or head.tag_thresholds for head in problem.heads.values()):
        return dict.fromkeys(problem.heads, Calibration(None, None))
    probabilities = predict_val(model, problem)
    true = {name: targets.numpy() for name, targets in problem.val.targets.items()}
    groups = views.samples["group"].to_numpy()[problem.val.rows]
    thresholds = {
        name: _learn_threshold(name, problem, probabilities[name], true[name], groups) for name in problem.heads
    }
    tree = build_tree(problem.tree.levels, problem.tree.parents, problem.classes) if problem.tree else None
    answers, shown = decide(probabilities, thresholds, tree), weigh(probabilities, tree)
    return {
        name: Calibration(
            thresholds[name],
            _learn_unknown(name, problem, shown[name], answers[name], true[name], groups),
            objective.learn_thresholds(name, probabilities[name], problem.val.targets[name], groups),
        )
        for name, objective in problem.objectives.items()
    }


def predict_val(model: Model, problem: Problem) -> Mapping[str, Numbers]:
    """Probabilities float32 (n_val, C) of each head, as the saved model will give them."""
    device = torch.device(device_type())
    fused = fuse(model).to(device)
    parts: dict[str, list[Numbers]] = {name: [] for name in problem.heads}
    for start in track(range(0, len(problem.val.rows), BATCH), "answers on val", unit="batch"):
        images = torch.from_numpy(problem.images.read_plain(problem.val.rows[start : start + BATCH]))
        for name, outputs in infer(fused, images, device).items():
            parts[name].append(problem.objectives[name].decode(outputs).cpu().numpy())
    return {name: np.concatenate(own) for name, own in parts.items()}


def _learn_threshold(
    name: str, problem: Problem, probabilities: Numbers, true: Ints, groups: NDArray[np.object_]
) -> float | None:
    wish, known = problem.heads[name].threshold, np.flatnonzero(true >= 0)
    if wish is None:
        return None
    first, second = problem.classes[name]
    seconds, of_recall = np.flatnonzero(true == 1), wish.metric == "recall"
    if of_recall:  # of the images of the second class
        kept = np.concatenate([seconds[one_of_each(groups[seconds])], np.flatnonzero(true == 0)])
    else:
        kept = known[one_of_each(groups[known])]
    point = choose_threshold(probabilities[kept, 1], true[kept] == 1, wish)
    if point.value is None:
        reason = (
            f"a recall of {wish.at_least:g}, and val has {_images(point.images)} of {second!r}, one of each group."
            f" {_from_on(point)}"
            if of_recall
            else f"a precision of {wish.at_least:g}, which val does not show {SURE} for any: that takes"
            f" {point.needed:,} images that are called {second!r}, all of them rightly, or more with few errors among"
            f" them. Of the {point.images:,} that look most like it {point.reached:.3f} are. Ask for less, label more,"
            " or train a better model."
        )
        say(f"warning: heads.{name}.threshold asks for {reason} The more probable class is the answer.")
        return None
    called, is_second = probabilities[known, 1] >= point.value, true[known] == 1
    message = (
        f"{name} answers {second!r} from a probability of {point.value:.4g} on: {SURE} a {wish.metric} of"
        f" {wish.at_least:g} at least for new images. On val it is {point.reached:.3f}, of {point.images:,}"
        f" {f'images of {second!r}' if of_recall else 'that are called so'}"
    )
    if of_recall:
        alarms, right = _percent(called[~is_second]), _percent(is_second[called])
        say(f"{message}; {alarms} of {first!r} are called {second!r} too, and {right} of what is called so is")
        if len(called) and called[~is_second].mean() > 0.5:
            say(f"warning: this recall of {second!r} costs most of {first!r}. Ask for less, or train a better model.")
    else:
        say(f"{message}; {_percent(called[is_second])} of {second!r} are found")
    return point.value


def _learn_unknown(
    name: str, problem: Problem, shown: Numbers, answers: Ints, true: Ints, groups: NDArray[np.object_]
) -> float | None:
    wish, known = problem.heads[name].unknown, np.flatnonzero(true >= 0)
    if wish is None:
        return None
    one, confidence, right = known[one_of_each(groups[known])], shown[np.arange(len(true)), answers], answers == true
    if isinstance(wish, Coverage):
        point = choose_set(shown[one, true[one]], wish.coverage)
        reason = f"a coverage of {wish.coverage:g}, and val has {_images(point.images)}, one of each group."
        reason += f" {_from_on(point)} No answer is called unknown."
    else:
        point = choose_purest(confidence[one], right[one], wish)
        reason = (
            f"{wish:g} of the answers to be right, which val does not show {SURE}, however sure they are: that takes"
            f" {point.needed:,} answers, all of them right, or more with few errors among them, and the surest"
            f" {point.images:,} are right in {point.reached:.3f}. No answer is called unknown. Ask for less, label"
            " more, or train a better model."
        )
    if point.value is None:
        say(f"warning: heads.{name}.unknown asks for {reason}")
    elif isinstance(wish, Coverage):
        sure = (confidence[known] >= point.value) & ((shown[known] >= point.value).sum(1) == 1)
        say(
            f"{name}: the classes with a probability of {point.value:.4g} or more hold the true one, {SURE}, in"
            f" {wish.coverage:g} of new images at least ({point.reached:.3f} of {point.images:,} on val). What is not"
            f" alone among them is unknown: {_percent(~sure)} of val, and {_percent(right[known][sure])} of the other"
            " answers are right"
        )
    else:
        sure = confidence[known] >= point.value
        say(
            f"{name} is unknown below a probability of {point.value:.4g}: {_percent(sure)} of its answers on val are"
            f" above, and {_percent(right[known][sure])} of these are right; {SURE} {wish:g} at least for new images"
        )
    return point.value


def _from_on(point: Point) -> str:
    """How many images are needed, and what can be promised with those that there are."""
    most = f"; {point.images:,} can promise {most_promised(point.images):.2f}" if point.images else ""
    return f"{SURE.capitalize()} it can be promised from {point.needed:,} on{most}. Label more, or ask for less."


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images" if count else "no image"


def _percent(flags: Flags) -> str:
    return f"{flags.mean():.1%}" if len(flags) else "none"
