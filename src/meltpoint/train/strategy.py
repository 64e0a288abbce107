"""A row of `strategies` in params.yaml, from stored views and features to a model folder, and those of its repeats."""

import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import assert_never

import torch

from meltpoint.errors import UserError
from meltpoint.files import read_json, write_json
from meltpoint.images.views import Views, open_views
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.lessons import write_trained_on
from meltpoint.model.model import Model, save_model
from meltpoint.model.repeats import save_repeat
from meltpoint.params.read import Params
from meltpoint.params.training import FinetuneStrategy, FrozenStrategy
from meltpoint.progress import peak_megabytes, say
from meltpoint.train.answers import Learnt, learn_answers
from meltpoint.train.checkpoint import Checkpoint, open_checkpoint
from meltpoint.train.device import check_processes, share_threads
from meltpoint.train.embed import Features, open_features
from meltpoint.train.finetune import build_model, count_parameters, fill_model, start_from, train_model, unfreeze
from meltpoint.train.frozen import probe
from meltpoint.train.goal import Goal, build_goal
from meltpoint.train.key import compute_key, list_versions
from meltpoint.train.launch import launch
from meltpoint.train.live import follow
from meltpoint.train.repeats import Trained, derive_seeds, finish, lay_out, place_of, read_finished, saved_model
from meltpoint.train.sinks import HISTORY
from meltpoint.train.worker import describe_job

CHECKPOINTS = ".checkpoints"
JOB = "job.json"

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


@dataclass(frozen=True)
class Job:
    """One training of a strategy with everything it trains on."""

    name: str
    params: Params  # with the seed of this training
    inputs: Inputs
    goal: Goal
    checkpoint: Checkpoint

    @property
    def key(self) -> str:
        """The fingerprint of all that it depends on."""
        return compute_key(self.name, self.params, self.inputs.views.fingerprint, self.inputs.features.fingerprint)


@dataclass(frozen=True)
class Outcome:
    """A trained model, and what it took."""

    model: Model
    trainable: int
    epochs: float
    seconds: float
    peak_megabytes: float
    sentence: str


def train_strategy(name: str, params: Params, inputs: Inputs, folder: Path, others: Path) -> Trained:
    """Train the strategy `name` as often as its `repeats` say, or continue where a killed training stopped.

    `folder` then holds the first one's model.safetensors, card.json, history.jsonl, trained_on.parquet and the manifest
    of them; `others` repeats.json, and what differs in the others' models (see `model.repeats`). Curves of the first
    appear in MLflow meanwhile. Thresholds in a card are learnt at the end, on val. The costs are those of the first,
    and besides `seconds_all_repeats`.

    Raises:
        TrainingError: the loss is no number.
        CheckpointError: another process trains the same.
        UserError: params do not fit the backbone, the data or the machine.
    """
    if params.train.threads:
        torch.set_num_threads(params.train.threads)
    root, seeds = (
        Path(os.environ.get("DVC_ROOT", ".")) / CHECKPOINTS,
        derive_seeds(params.seed, params.strategies[name].repeats),
    )
    key = compute_key(name, params, inputs.views.fingerprint, inputs.features.fingerprint)
    with open_checkpoint(root, name, key) as checkpoint:
        goal, done = build_goal(inputs.views, params), []
        for number, seed in enumerate(seeds, start=1):
            own = params.model_copy(update={"seed": seed})
            done.append(_repeat(Job(name, own, inputs, goal, place_of(checkpoint, number)), number, checkpoint))
        lay_out(checkpoint, seeds, folder, others)
        checkpoint.remove()
    first = done[0]
    costs = {**first.costs, "seconds_all_repeats": round(sum(trained.costs["seconds"] for trained in done), 3)}
    more = f"; {len(done) - 1} more trained with other seeds" if len(done) > 1 else ""
    return Trained(first.sentence + more, costs)


def _repeat(job: Job, number: int, first: Checkpoint) -> Trained:
    """The training of that number, which is left as it is if it is finished; `first` is where the first one is."""
    repeats = job.params.strategies[job.name].repeats
    title = f"repeat {number} of {repeats}, seed {job.params.seed}"
    if (finished := read_finished(job.checkpoint)) is not None:
        say(f"{title}: finished before it was interrupted")
        return finished
    if repeats > 1:
        say(f"{title}: begins")
    with follow(job.checkpoint.folder) if number == 1 else nullcontext():
        outcome = _train(job)
    card = _write_card(job, outcome, learn_answers(outcome.model, job.goal, job.inputs.views))
    trained = Trained(outcome.sentence, _measure(outcome))
    made = (outcome.model, card)
    save = partial(_save_first, job, *made) if number == 1 else partial(save_repeat, *made, saved_model(first))
    finish(job.checkpoint, trained, save)
    if repeats > 1:
        say(f"{title}: {outcome.sentence}")
    return trained


def _save_first(job: Job, model: Model, card: Card, folder: Path) -> None:
    shutil.copy(job.checkpoint.folder / HISTORY, folder / HISTORY)
    write_trained_on(job.inputs.views.samples, folder)
    save_model(model, card, folder)  # last: it lists all files


def _measure(outcome: Outcome) -> dict[str, float]:
    return {
        "seconds": round(outcome.seconds, 3),
        "peak_megabytes": round(max(outcome.peak_megabytes, peak_megabytes()), 1),
        "epochs": outcome.epochs,
        "parameters": count_parameters(outcome.model),
        "trainable_parameters": outcome.trainable,
    }


def _train(job: Job) -> Outcome:
    strategy = job.params.strategies[job.name]
    match strategy:
        case FrozenStrategy():
            return _train_frozen(job, strategy)
        case FinetuneStrategy():
            return _train_finetune(job, strategy)
        case _:
            assert_never(strategy)


def _train_frozen(job: Job, strategy: FrozenStrategy) -> Outcome:
    goal, every = job.goal, job.params.train.checkpoint_steps
    model = build_model(job.params, goal, job.inputs.views.size)
    seed, settings = job.params.seed, strategy.probe
    fitted = probe(goal, job.inputs.features, model.backbone, settings, seed, job.checkpoint, every, strategy.sampling)
    model.heads = fitted.heads
    decays = ", ".join(f"{head} {decay:g}" for head, decay in fitted.weight_decays.items())
    sentence = f"{_reached(goal, fitted.scores)} on val, with the weight decays {decays}"
    trainable = count_parameters(model.heads)
    return Outcome(model, trainable, strategy.probe.epochs, fitted.seconds, fitted.peak_megabytes, sentence)


def _train_finetune(job: Job, strategy: FinetuneStrategy) -> Outcome:
    params, goal, views, checkpoint = job.params, job.goal, job.inputs.views, job.checkpoint
    check_processes(params.train, strategy.batch, len(goal.train.ids))
    model, saved = build_model(params, goal, views.size), checkpoint.resume()
    if saved is None:
        features, settings = job.inputs.features, strategy.probe
        fitted = probe(goal, features, model.backbone, settings, params.seed, None, 0, strategy.sampling)
        say(f"Heads on frozen features: {_reached(goal, fitted.scores)} on val. Now the backbone learns too.")
        start_from(fitted, checkpoint)
        saved = checkpoint.read()
    if not (saved and saved.facts["finished"]):
        _run(job, strategy, model)
        saved = checkpoint.read()
    assert saved is not None
    trainable = count_parameters(model, unfreeze(model, strategy))
    fill_model(model, saved, "best")
    facts = saved.facts
    sentence = f"{goal.main} {goal.metric} {facts['best']['metric']:.3f} on val in epoch {facts['best']['epoch']}"
    return Outcome(model, trainable, facts["epochs"], facts["seconds"], facts["peak_megabytes"], sentence)


def _run(job: Job, strategy: FinetuneStrategy, model: Model) -> None:
    train = job.params.train
    if train.processes == 1:
        train_model(model, job.params, strategy, job.goal, job.checkpoint)
        return
    description = job.checkpoint.folder / JOB
    write_json(description, describe_job(job.params, job.name, job.inputs.views.folder))
    launch(description, train.processes, share_threads(train))


def _reached(goal: Goal, scores: Mapping[str, Mapping[str, float]]) -> str:
    return f"{goal.metric} " + ", ".join(f"{head} {own[goal.metric]:.3f}" for head, own in scores.items())


def _write_card(job: Job, outcome: Outcome, learnt: Mapping[str, Learnt]) -> Card:
    params, goal, backbone = job.params, job.goal, outcome.model.backbone
    heads = {
        name: HeadCard(
            head=head,
            classes=goal.classes[name],
            outputs=goal.n_outputs[name],
            threshold=learnt[name].threshold,
            unknown_below=learnt[name].unknown_below,
            names=job.inputs.names.get(head.label, {}),
            colours=job.inputs.views.palettes.get(head.label),
        )
        for name, head in goal.heads.items()
    }
    return Card(
        format=FORMAT,
        strategy=job.name,
        task=params.task.kind,
        backbone=params.backbone,
        images=params.images,
        max_megapixels=params.data.max_megapixels,
        depths=job.inputs.views.depths,
        mean=backbone.mean,
        std=backbone.std,
        heads=heads,
        tree=goal.tree,
        main_head=goal.main,
        metric=goal.metric,
        key=job.key,
        data=job.inputs.views.fingerprint,
        seed=params.seed,
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
