"""What is to be learned: the images of train and val, the targets of every head, and the metric that chooses."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from meltpoint.arrays import Floats, Ints
from meltpoint.errors import UserError
from meltpoint.images.views import Views
from meltpoint.model.card import TreeCard
from meltpoint.params.heads import Head
from meltpoint.params.judging import Metric
from meltpoint.params.recipe import Recipe
from meltpoint.params.strategies import Sampling
from meltpoint.progress import track
from meltpoint.tables import labels_of
from meltpoint.tasks.contract import Objective, load_objective
from meltpoint.terminal import say
from meltpoint.train.batches import Store, balance, draw_order, mix
from meltpoint.trees import build_tree, derive_parents

MASKS = 64  # in memory at once
SHOTS = 0x5607  # tells the seed of the images that are drawn from other numbers made of the same seed
SHOWN = 5  # classes that a message names
INSTEAD: dict[Metric, Metric] = {
    "roc_auc": "log_loss"
}  # of a metric that takes too long for every epoch: what chooses on val


class ProblemError(UserError, ValueError):
    """The images do not show what a head is to learn."""


@dataclass(frozen=True)
class Part:
    """The images of one split, sorted by id."""

    rows: NDArray[np.int64]  # (n,) positions in the plain views
    ids: NDArray[np.int64]  # (n,)
    paths: tuple[str, ...]
    targets: Mapping[str, Tensor]  # int64 (n, ...) a head, as its objective encodes labels, -1 without one
    places: Ints  # (n,) among all images of the split: what may be learnt from can be a part of them


@dataclass(frozen=True)
class Problem:
    """Targets, objectives and loss weights by head; `metric` of the head `main` on val chooses.

    A target is missing where an image has no label, and where the head is not about it: such rows do not count.
    """

    heads: Mapping[str, Head]
    objectives: Mapping[str, Objective]
    classes: Mapping[str, list[str]]
    train: Part  # what may be learnt from
    val: Part
    pictures: Ints  # rows of all training images, also of those whose labels may not be used
    images: Store  # views of the images
    masks: Store | None  # the same views of their masks, where they have some
    main: str
    metric: Metric
    tree: TreeCard | None

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each head's loss."""
        return {name: 1.0 if head.weight is None else head.weight for name, head in self.heads.items()}

    @property
    def curve(self) -> str:
        """The name under which the metric that chooses stands among the curves."""
        return f"val/{self.main}/{self.metric}"

    @property
    def n_outputs(self) -> dict[str, int]:
        """How many numbers each head gives."""
        return {name: objective.n_outputs for name, objective in self.objectives.items()}

    def describe(self, scores: Mapping[str, Mapping[str, float]]) -> str:
        """The metric that chooses, of each head, in words."""
        return f"{self.metric} " + ", ".join(f"{head} {own[self.metric]:.3f}" for head, own in scores.items())

    def chances(self, sampling: Sampling | None) -> Floats | None:
        """How likely each training image (n_train,) is drawn, by its class of the main head; None: each comes once."""
        counted = self.objectives[self.main].counts_for(self.train.targets[self.main])
        return balance(counted.numpy()) if sampling == "balanced" else None

    def order(self, epoch: int, seed: int, sampling: Sampling | None) -> Ints:
        """The numbers int64 (n_train,) of the training images that an epoch shows, in their order."""
        chances = self.chances(sampling)
        return draw_order(seed, epoch, len(self.train.ids) if chances is None else chances)


def build_problem(views: Views, recipe: Recipe) -> Problem:
    """What the images of `views` show of what the recipe is about.

    Raises:
        ProblemError: a head without a labelled image in train or val.
        ObjectiveError: labels or classes that a head cannot learn.
        TreeError: classes that form no tree.
    """
    heads, samples, trained = recipe.heads, views.samples, views.rows("train")
    classes = {name: views.classes[head.label] for name, head in heads.items()}
    labels = {name: labels_of(samples, head) for name, head in heads.items()}
    for split in ("train", "val"):
        for name, head in heads.items():
            values, where = labels[name].iloc[views.rows(split)], head.where
            if not values.notna().any():
                condition = f" where {where.label!r} is one of {where.is_in}" if where else ""
                raise ProblemError(
                    f"The head {name!r} has nothing to learn: none of the {len(values):,} images of {split} has a label"
                    f" {head.label!r}{condition}. Each head needs some in train and in val. Label more images, change"
                    f" `split` so that they fall into {split}, or correct heads.{name}."
                )
    everyone = np.arange(len(trained))
    masks = None if views.masks is None else Store(views.masks, views.augmented_masks, views.count, trained, everyone)
    task, count = load_objective(recipe.task.kind), partial(_count_pixels, masks, trained)
    known, shots = {name: values.iloc[trained] for name, values in labels.items()}, recipe.settings.labelled
    if shots is not None:
        known = take_shots(known, samples["id"].to_numpy(np.int64)[trained], shots, recipe.seed)
    objectives: dict[str, Objective] = {
        name: task.build_objective(head, classes[name], known[name], count) for name, head in heads.items()
    }

    def describe(rows: Ints, labels: Mapping[str, "pd.Series[str]"], places: Ints) -> Part:
        targets = {name: objective.encode(labels[name].iloc[places]) for name, objective in objectives.items()}
        images = samples.iloc[rows[places]]
        return Part(rows[places], images["id"].to_numpy(np.int64), tuple(images["path"]), targets, places)

    val = views.rows("val")
    used = everyone if shots is None else np.flatnonzero(pd.DataFrame(known).notna().any(axis=1))
    tree = recipe.task.tree
    if tree is not None:  # as params give it, or as all labelled images have it; checked before anything is trained
        parents = derive_parents(labels, tree.levels) if tree.parents is None else tree.parents
        build_tree(tree.levels, parents, classes)
    return Problem(
        heads=heads,
        objectives=objectives,
        classes=classes,
        train=describe(trained, known, used),
        val=describe(val, {name: values.iloc[val] for name, values in labels.items()}, np.arange(len(val))),
        pictures=trained,
        images=Store(views.plain, views.augmented, views.count, trained[used], used),
        masks=masks,
        main=recipe.main_head,
        metric=INSTEAD.get(recipe.metric, recipe.metric),
        tree=None if tree is None else TreeCard(levels=tree.levels, parents=parents),
    )


def take_shots(labels: Mapping[str, "pd.Series[str]"], ids: Ints, shots: int, seed: int) -> dict[str, "pd.Series[str]"]:
    """Labels (N,) of images by head, of which each class keeps `shots`, drawn by `seed`; the others are missing then.

    Fewer shots are always among more of the same seed. A class that has not so many keeps all, which is said.
    """
    order, taken = np.argsort(mix(seed, SHOTS, ids), kind="stable"), {}
    for head, values in labels.items():
        codes, names = pd.factorize(values.iloc[order])  # -1 where a label is missing
        places = {name: order[codes == code] for code, name in enumerate(names)}
        fewer = sorted(f"{name} ({len(own)})" for name, own in places.items() if len(own) < shots)
        if fewer:
            more = f" and {len(fewer) - SHOWN} more" if len(fewer) > SHOWN else ""
            say(
                f"warning: of {head}, {len(fewer)} of {len(places)} classes have fewer than {shots} labelled training"
                f" images, and all are used: {', '.join(fewer[:SHOWN])}{more}"
            )
        kept = np.zeros(len(values), np.bool_)
        kept[np.concatenate([own[:shots] for own in places.values()])] = True
        taken[head] = values.where(kept)
    return taken


def _count_pixels(masks: Store | None, rows: Ints) -> Tensor:
    """How many pixels of some rows' plain masks have each id, int64 (256,)."""
    assert masks is not None, "only tasks of masks ask"
    counts = np.zeros(256, np.int64)
    for start in track(range(0, len(rows), MASKS), "pixels of the classes", unit="piece"):
        counts += np.bincount(masks.read_plain(rows[start : start + MASKS]).ravel(), minlength=256)
    return torch.from_numpy(counts)
