"""Every family of backbones: what is cached is what is live, heads learn from it, and then the backbone learns too."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from meltpoint.images.views import Views, open_views
from meltpoint.model import nets
from meltpoint.model.model import Model, build_model
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import RandomWeights
from meltpoint.params.read import Params
from meltpoint.params.recipe import Recipe
from meltpoint.params.training import Embed
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.embed import embed
from meltpoint.train.features import Features
from meltpoint.train.history_file import read_history
from meltpoint.train.job import Job
from meltpoint.train.probe import Fitted, probe, use_threads
from meltpoint.train.problem import Problem, build_problem
from meltpoint.train.strategies.finetune import unfreeze
from meltpoint.train.tuning import start_from, tune

TRAIN, VAL = 10, 6


@dataclass(frozen=True)
class Course:
    """A family with a head of each kind it can have, and what the frozen backbone gives of some images."""

    recipe: Recipe
    views: Views
    problem: Problem
    model: Model
    features: Features
    fitted: Fitted
    history: Path

    def job(self, checkpoint: Path) -> Job[Any]:
        return Job(self.recipe, self.views, self.features, self.problem, Checkpoint(checkpoint))


def heads(family: Any, head: dict[str, Any]) -> dict[str, Any]:
    deep = {"at": -2, "pool": list(family.tokens)} if family.tokens else -2
    built = {
        "last": {**head, "label": "shade", "main": True},
        "deep": {**head, "label": "colour", "main": False, "tap": deep},
        "hidden": {**head, "label": "shade", "main": False, "kind": "mlp", "tap": -1, "hidden": 4, "dropout": 0.0},
    }
    return built | (
        {"own": {**head, "label": "colour", "main": False, "kind": "conv", "tap": -1}} if family.convolution else {}
    )


def set_params(scene: Any, family: Any, weights: Path) -> Params:
    def change(raw: dict[str, Any]) -> None:
        given = {"kind": "file", "path": str(weights), "match": "name", "licence": "x"}
        raw["encoders"]["lite0"] |= {"name": family.name, "args": family.args, "weights": given}
        raw["views"]["s128"]["side"] = family.size
        raw["heads"] = heads(family, {key: value for key, value in raw["heads"]["colour"].items() if key != "main"})
        raw["strategies"]["frozen"]["probe"] |= {"epochs": 30, "batch": TRAIN, "lr": 0.002}
        raw["strategies"]["finetune"] |= {"epochs": 1, "batch": TRAIN, "ema": 0.0, "lr": 0.001, "warmup": 0.0}

    params: Params = scene.params(change)
    return params


def write_views(scene: Any, size: int, folder: Path) -> Views:
    """The first images of the scene, grown to another size by repeating them."""
    source, facts = scene.folder / "views" / "s128", {"size": size, "count": 2, "fingerprint": f"few {size}"}
    table = pd.read_csv(source / "samples.csv")
    train, val = (np.flatnonzero(table["split"] == split)[:count] for split, count in (("train", TRAIN), ("val", VAL)))
    rows = np.sort(np.concatenate([train, val]))
    plain = np.load(source / "plain.npy")[rows]
    folder.mkdir(parents=True)
    np.save(folder / "plain.npy", np.tile(plain, (1, 2, 2, 1))[:, :size, :size])
    augmented = np.load(source / "augmented.npy")[:TRAIN]
    np.save(folder / "augmented.npy", np.tile(augmented, (1, 1, 2, 2, 1))[:, :, :size, :size])
    table.iloc[rows].to_csv(folder / "samples.csv", index=False)
    (folder / "classes.json").write_bytes((source / "classes.json").read_bytes())
    (folder / "views.json").write_text(json.dumps(facts))
    return open_views(folder)


def write_weights(family: Any, views: Views, path: Path) -> None:
    """Random weights, with BatchNorm's statistics those of the images: as if pretrained, features are of size 1."""
    params = BackboneParams(
        name=family.name, args=family.args, weights=RandomWeights(kind="random"), mean=None, std=None
    )
    net = nets.create_net(params, family.size, from_hub=False)
    images = torch.from_numpy(np.array(views.plain)).permute(0, 3, 1, 2).float() / 64 - 2
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            module.train()
    with torch.no_grad():
        net(images)
    save_file(net.state_dict(), path)


@pytest.fixture(scope="module")
def course(scene: Any, family: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    folder = tmp_path_factory.mktemp("family")
    params = set_params(scene, family, folder / "w.safetensors")
    with use_threads(1):
        views = write_views(scene, family.size, folder / "views")
        write_weights(family, views, folder / "w.safetensors")
        recipe = params.recipe("finetune")
        problem = build_problem(views, recipe)
        model = build_model(recipe.encoder, recipe.heads, problem.n_outputs, family.size)
        features = embed(model.backbone, views, Embed(batch=8, max_gb=1), folder / "features")
        checkpoint = Checkpoint(folder / "frozen")
        job: Job[Any] = Job(params.recipe("frozen"), views, features, problem, checkpoint)
        fitted = probe(job, model.backbone, checkpoint)
        yield Course(recipe, views, problem, model, features, fitted, checkpoint.folder / "history.jsonl")


def live(model: Model, images: np.ndarray[Any, Any]) -> dict[str, torch.Tensor]:
    """What a training that does not cache computes: all images at once, through the backbone as it is, not fused."""
    with torch.no_grad():
        features: dict[str, torch.Tensor] = model.backbone.eval()(
            model.backbone.prepare(torch.from_numpy(np.array(images)))
        )
    return features


def test_cached_features_are_the_live_ones(course: Course) -> None:
    expected = live(course.model, course.views.plain)
    assert course.views.augmented is not None
    second = live(course.model, course.views.augmented[:, 1])
    for name, head in course.problem.heads.items():
        key, augmented = course.model.head_taps[name], course.features.augmented(head.reads)
        assert augmented is not None
        for cached, wanted in ((course.features.plain(head.reads), expected[key]), (augmented[:, 1], second[key])):
            size = max(1.0, float(wanted.abs().max()))
            np.testing.assert_allclose(cached, wanted, atol=1e-5 * size, rtol=1e-5)


def test_each_head_learns_from_frozen_features(course: Course) -> None:
    assert course.fitted.heads.keys() == course.problem.heads.keys()
    lines = list(read_history(course.history))
    assert lines[-1]["train/loss"] < lines[0]["train/loss"]
    before = dict(course.job(Path()).build_model().heads.named_parameters())
    for name, parameter in course.fitted.heads.named_parameters():
        assert parameter.isfinite().all(), name
        assert not torch.equal(parameter, before[name]), name


def test_a_fine_tuning_step_moves_every_parameter_it_can(course: Course, tmp_path: Path) -> None:
    job, checkpoint = course.job(tmp_path), Checkpoint(tmp_path)
    model = job.build_model()
    start_from(course.fitted, checkpoint)
    before = {name: value.detach().clone() for name, value in model.backbone.named_parameters()}
    tune(job, model, unfreeze(model, job.settings))
    assert not model.training
    losses = [line["train/loss"] for line in read_history(checkpoint.folder / "history.jsonl") if "train/loss" in line]
    assert losses
    assert np.isfinite(losses).all()
    still = [name for name, value in model.backbone.named_parameters() if torch.equal(value, before[name])]
    unreached = {name for name in still if not _is_reached(model, name)}
    assert set(still) == unreached
    assert len(still) < len(before) / 4


def _is_reached(model: Model, name: str) -> bool:
    return model.backbone.get_parameter(name).requires_grad
