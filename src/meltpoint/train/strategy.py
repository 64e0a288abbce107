"""A row of `strategies` in params.yaml, from stored views and features to a model folder, and those of its repeats."""

import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from meltpoint.errors import UserError
from meltpoint.files import read_json, whole_folder, write_json
from meltpoint.images.views import Views, open_views
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.model import save_model
from meltpoint.model.repeat_delta import save_repeat, write_index
from meltpoint.model.trained_on import write_trained_on
from meltpoint.params.recipe import Recipe
from meltpoint.progress import peak_megabytes
from meltpoint.terminal import say
from meltpoint.train.batches import mix_one
from meltpoint.train.calibration import Calibration, calibrate
from meltpoint.train.checkpoint import STATE, Checkpoint, open_checkpoint
from meltpoint.train.features import Features, open_features
from meltpoint.train.history_file import HISTORY
from meltpoint.train.job import Job, Outcome, Texts, count_parameters, load_strategy
from meltpoint.train.problem import build_problem
from meltpoint.train.torchrun import group
from meltpoint.train.tracking_process import follow
from meltpoint.train.training_fingerprint import fingerprint_training, list_versions

CHECKPOINTS = ".checkpoints"
AGAIN = 0xA6A1  # tells the seed of a repeat from other numbers made of the same seed
SEEDS = 2**31  # a seed of a repeat is smaller: short enough to be read, and whole in every JSON
TRAINED, MODEL, FACTS = "trained", "model", "facts.json"  # what a finished training leaves in its checkpoint folder


class InputsError(UserError, RuntimeError):
    """A file that training needs is missing."""


@dataclass(frozen=True)
class Inputs:
    """What a strategy trains on."""

    views: Views
    features: Features
    texts: Texts  # of classes, where they have any

    @classmethod
    def below(cls, data: Path, recipe: Recipe) -> "Inputs":
        """The recipe's rows of `data`/views and `data`/features, `data`/names.json and descriptions.json.

        Raises:
            ViewsError, FeaturesError, InputsError: one of them is missing.
        """
        views = open_views(data / "views" / recipe.encoder.views)
        features = open_features(data / "features" / recipe.settings.encoder)
        try:
            texts = Texts(read_json(data / "names.json"), read_json(data / "descriptions.json"))
        except FileNotFoundError as error:
            raise InputsError(
                f"There is no {error.filename}, which holds what classes are called. Make it: dvc repro download"
            ) from None
        return cls(views, features, texts)


@dataclass(frozen=True)
class Trained:
    """What training says at the end.

    `costs`: `seconds` (of all parts of an interrupted training together), `peak_megabytes`, `epochs`, `parameters`,
    `trainable_parameters`, `labelled_images` (of the main head, that were learnt from).
    """

    sentence: str
    costs: dict[str, float]


def train_strategy(recipe: Recipe, inputs: Inputs, folder: Path, others: Path) -> Trained:
    """Train a strategy as often as its `repeats` say, or continue where a killed training stopped.

    `folder` then holds the first one's model.safetensors, card.json, history.jsonl, trained_on.parquet and the manifest
    of them; `others` has repeats.json, and for repeats 2 to n, in folders 2 ... n, what differs in their models (see
    `model.repeat_delta`). Curves of the first appear in MLflow meanwhile. Thresholds in a card are learned at the end,
    on val. The costs are those of the first, and `seconds_all_repeats`.

    Raises:
        TrainingError: the loss is not a finite number.
        CheckpointError: another process trains the same.
        UserError: params do not fit the backbone, the data or the machine.
    """
    if recipe.machine.threads:
        torch.set_num_threads(recipe.machine.threads)
    with group(recipe) as recipe:
        return _train(recipe, inputs, folder, others)


def _train(recipe: Recipe, inputs: Inputs, folder: Path, others: Path) -> Trained:
    root, views, features = Path(os.environ.get("DVC_ROOT", ".")) / CHECKPOINTS, inputs.views, inputs.features
    seeds = derive_seeds(recipe.seed, recipe.settings.repeats or 1)
    key = fingerprint_training(recipe, views.fingerprint, features.fingerprint)
    with open_checkpoint(root, recipe.strategy, key) as checkpoint:
        done = []
        places = [Checkpoint(checkpoint.folder / f"repeat-{number}") for number in range(2, len(seeds) + 1)]
        for number, (seed, place) in enumerate(zip(seeds, [checkpoint, *places], strict=True), start=1):
            own = recipe.model_copy(update={"seed": seed})
            job: Job[Any] = Job(own, views, features, build_problem(views, own), place, inputs.texts)
            done.append(_repeat(job, number, checkpoint))
        # Copied, not moved: DVC removes what an interrupted run wrote, and then all of it is found in the checkpoint.
        with whole_folder(others) as temporary:
            write_index(seeds, temporary)
            for number, place in enumerate(places, start=2):
                shutil.copytree(place.folder / TRAINED / MODEL, temporary / str(number))
        with whole_folder(folder) as temporary:
            shutil.copytree(checkpoint.folder / TRAINED / MODEL, temporary, dirs_exist_ok=True)
        checkpoint.remove()
    first = done[0]
    costs = {**first.costs, "seconds_all_repeats": round(sum(trained.costs["seconds"] for trained in done), 3)}
    more = f"; {len(done) - 1} more trained with other seeds" if len(done) > 1 else ""
    return Trained(first.sentence + more, costs)


def derive_seeds(seed: int, repeats: int) -> list[int]:
    """The seed of each training: the first has `seed` itself, each other one that depends on it and on its number."""
    return [seed, *(mix_one(seed, AGAIN, number) % SEEDS for number in range(2, repeats + 1))]


def _repeat(job: Job[Any], number: int, first: Checkpoint) -> Trained:
    """The training of that number, skipped if it is finished; `first` is the checkpoint of the first one."""
    repeats, place = job.recipe.settings.repeats or 1, job.checkpoint
    title = f"repeat {number} of {repeats}, seed {job.recipe.seed}"
    if (place.folder / TRAINED / FACTS).exists():
        say(f"{title}: finished before it was interrupted")
        return Trained(**read_json(place.folder / TRAINED / FACTS))
    if repeats > 1:
        say(f"{title}: begins")
    with follow(place.folder) if number == 1 else nullcontext():
        outcome = load_strategy(job.recipe.settings.kind).train(job)
    model, targets = outcome.model, job.problem.train.targets[job.problem.main]
    card = _make_card(job, outcome, calibrate(model, job.problem, job.views))
    costs = {
        "seconds": round(outcome.seconds, 3),
        "peak_megabytes": round(max(outcome.peak_megabytes, peak_megabytes()), 1),
        "epochs": outcome.epochs,
        "parameters": count_parameters(model),
        "trainable_parameters": outcome.trainable,
        "labelled_images": int((targets.reshape(len(targets), -1) >= 0).any(1).sum()),
    }
    with whole_folder(place.folder / TRAINED) as temporary:
        folder = temporary / MODEL
        folder.mkdir()
        if number == 1:
            shutil.copy(place.folder / HISTORY, folder / HISTORY)
            write_trained_on(job.views.samples, folder)
            save_model(model, card, folder)  # last: it lists all files
        else:
            save_repeat(model, card, first.folder / TRAINED / MODEL, folder)
        write_json(temporary / FACTS, {"sentence": outcome.sentence, "costs": costs})
    (place.folder / STATE).unlink(missing_ok=True)
    if repeats > 1:
        say(f"{title}: {outcome.sentence}")
    return Trained(outcome.sentence, costs)


def _make_card(job: Job[Any], outcome: Outcome, found: Mapping[str, Calibration]) -> Card:
    recipe, problem, backbone = job.recipe, job.problem, outcome.model.backbone
    heads = {
        name: HeadCard(
            head=head,
            classes=problem.classes[name],
            outputs=problem.n_outputs[name],
            threshold=found[name].threshold,
            unknown_below=found[name].unknown_below,
            names=job.texts.names.get(head.label, {}),
            colours=job.views.palettes.get(head.label),
            thresholds=found[name].thresholds,
        )
        for name, head in outcome.heads.items()
    }
    return Card(
        format=FORMAT,
        strategy=recipe.strategy,
        encoder=recipe.settings.encoder,
        views=recipe.encoder.views,
        task=recipe.task.kind,
        backbone=recipe.encoder.backbone.model_copy(update={"args": backbone.params.args}),
        images=recipe.views.geometry,
        max_megapixels=recipe.max_megapixels,
        depths=job.views.depths,
        mean=backbone.mean,
        std=backbone.std,
        heads=heads,
        tree=problem.tree,
        main_head=problem.main,
        metric=problem.metric,
        key=fingerprint_training(recipe, job.views.fingerprint, job.features.fingerprint),
        data=job.views.fingerprint,
        seed=recipe.seed,
        licence=backbone.licence,
        trainable_parameters=outcome.trainable,
        versions=list_versions(),
    )
