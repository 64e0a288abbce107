"""A row of `strategies` in params.yaml, from stored views and features to a model folder, and those of its repeats."""

import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.images.views import Views, open_views
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.lessons import write_trained_on
from meltpoint.model.model import Model, save_model
from meltpoint.model.repeats import save_repeat
from meltpoint.progress import peak_megabytes, say
from meltpoint.train.answers import Learnt, learn_answers
from meltpoint.train.checkpoint import Checkpoint, open_checkpoint
from meltpoint.train.embed import Features, open_features
from meltpoint.train.job import Job, Outcome, count_parameters, load_strategy
from meltpoint.train.live import follow
from meltpoint.train.problem import build_problem
from meltpoint.train.recipe import Recipe, compute_key, list_versions
from meltpoint.train.repeats import Trained, derive_seeds, finish, lay_out, place_of, read_finished, saved_model
from meltpoint.train.sinks import HISTORY

CHECKPOINTS = ".checkpoints"

Names = dict[str, dict[str, dict[str, str]]]  # label -> language -> class -> its name for people


class InputsError(UserError, RuntimeError):
    """A file that training needs is missing."""


@dataclass(frozen=True)
class Inputs:
    """What a strategy trains on."""

    views: Views
    features: Features
    names: Names  # of classes, where they have any

    @classmethod
    def below(cls, data: Path) -> "Inputs":
        """What lies in `data`/views, `data`/features and `data`/names.json.

        Raises:
            ViewsError, FeaturesError, InputsError: one of them is missing.
        """
        return cls(open_views(data / "views"), open_features(data / "features"), _read_names(data / "names.json"))


def train_strategy(recipe: Recipe, inputs: Inputs, folder: Path, others: Path) -> Trained:
    """Train a strategy as often as its `repeats` say, or continue where a killed training stopped.

    `folder` then holds the first one's model.safetensors, card.json, history.jsonl, trained_on.parquet and the manifest
    of them; `others` repeats.json, and what differs in the others' models (see `model.repeats`). Curves of the first
    appear in MLflow meanwhile. Thresholds in a card are learnt at the end, on val. The costs are those of the first,
    and besides `seconds_all_repeats`.

    Raises:
        TrainingError: the loss is no number.
        CheckpointError: another process trains the same.
        UserError: params do not fit the backbone, the data or the machine.
    """
    if recipe.machine.threads:
        torch.set_num_threads(recipe.machine.threads)
    root, views, features = Path(os.environ.get("DVC_ROOT", ".")) / CHECKPOINTS, inputs.views, inputs.features
    seeds = derive_seeds(recipe.seed, recipe.settings.repeats)
    key = compute_key(recipe, views.fingerprint, features.fingerprint)
    with open_checkpoint(root, recipe.strategy, key) as checkpoint:
        problem, done = build_problem(views, recipe), []
        for number, seed in enumerate(seeds, start=1):
            own = recipe.model_copy(update={"seed": seed})
            job: Job[Any] = Job(own, views, features, problem, place_of(checkpoint, number))
            done.append(_repeat(job, inputs.names, number, checkpoint))
        lay_out(checkpoint, seeds, folder, others)
        checkpoint.remove()
    first = done[0]
    costs = {**first.costs, "seconds_all_repeats": round(sum(trained.costs["seconds"] for trained in done), 3)}
    more = f"; {len(done) - 1} more trained with other seeds" if len(done) > 1 else ""
    return Trained(first.sentence + more, costs)


def _repeat(job: Job[Any], names: Names, number: int, first: Checkpoint) -> Trained:
    """The training of that number, which is left as it is if it is finished; `first` is where the first one is."""
    repeats = job.recipe.settings.repeats
    title = f"repeat {number} of {repeats}, seed {job.recipe.seed}"
    if (finished := read_finished(job.checkpoint)) is not None:
        say(f"{title}: finished before it was interrupted")
        return finished
    if repeats > 1:
        say(f"{title}: begins")
    with follow(job.checkpoint.folder) if number == 1 else nullcontext():
        outcome = load_strategy(job.recipe.settings.kind).train(job)
    card = _write_card(job, names, outcome, learn_answers(outcome.model, job.problem, job.views))
    trained = Trained(outcome.sentence, _measure(outcome))
    made = (outcome.model, card)
    save = partial(_save_first, job, *made) if number == 1 else partial(save_repeat, *made, saved_model(first))
    finish(job.checkpoint, trained, save)
    if repeats > 1:
        say(f"{title}: {outcome.sentence}")
    return trained


def _save_first(job: Job[Any], model: Model, card: Card, folder: Path) -> None:
    shutil.copy(job.checkpoint.folder / HISTORY, folder / HISTORY)
    write_trained_on(job.views.samples, folder)
    save_model(model, card, folder)  # last: it lists all files


def _measure(outcome: Outcome) -> dict[str, float]:
    return {
        "seconds": round(outcome.seconds, 3),
        "peak_megabytes": round(max(outcome.peak_megabytes, peak_megabytes()), 1),
        "epochs": outcome.epochs,
        "parameters": count_parameters(outcome.model),
        "trainable_parameters": outcome.trainable,
    }


def _write_card(job: Job[Any], names: Names, outcome: Outcome, learnt: Mapping[str, Learnt]) -> Card:
    recipe, problem, backbone = job.recipe, job.problem, outcome.model.backbone
    heads = {
        name: HeadCard(
            head=head,
            classes=problem.classes[name],
            outputs=problem.n_outputs[name],
            threshold=learnt[name].threshold,
            unknown_below=learnt[name].unknown_below,
            names=names.get(head.label, {}),
            colours=job.views.palettes.get(head.label),
        )
        for name, head in problem.heads.items()
    }
    return Card(
        format=FORMAT,
        strategy=recipe.strategy,
        task=recipe.task.kind,
        backbone=recipe.backbone,
        images=recipe.images,
        max_megapixels=recipe.max_megapixels,
        depths=job.views.depths,
        mean=backbone.mean,
        std=backbone.std,
        heads=heads,
        tree=problem.tree,
        main_head=problem.main,
        metric=problem.metric,
        key=compute_key(recipe, job.views.fingerprint, job.features.fingerprint),
        data=job.views.fingerprint,
        seed=recipe.seed,
        licence=backbone.licence,
        trainable_parameters=outcome.trainable,
        versions=list_versions(),
    )


def _read_names(path: Path) -> Names:
    try:
        names: Names = read_json(path)
    except FileNotFoundError:
        raise InputsError(
            f"There is no {path}, which holds the names of classes for people. Make it: dvc repro download"
        ) from None
    return names
