"""Frozen training on cached features against the usual way, which runs the backbone in every epoch."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.params.read import Params
from meltpoint.params.strategies import FrozenStrategy
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.embed import embed
from meltpoint.train.job import Job
from meltpoint.train.probe import probe
from meltpoint.train.problem import Problem, build_problem
from reporting import Row, Timed, side_by_side
from stage_set import photographs, preset

TRAIN, VAL, EPOCHS, ROUNDS = 128, 128, 20, 1
HEAD = "defective"


def measure(folder: Path) -> list[Row]:
    """Trainings an hour of both, embedding counted, and what they reach on val."""
    params = preset(strategies={"frozen.probe.epochs": EPOCHS, "frozen.probe.batch": 32})
    views = photographs(params, TRAIN, VAL, folder / "views")
    backbone = build_backbone(params.recipe("frozen").encoder, {"final"}, views.size)
    problem = build_problem(views, params.recipe("frozen"))
    ours, theirs = side_by_side(
        lambda: _ours(backbone, views, problem, params), lambda: _usual(backbone, views, problem, params), ROUNDS
    )
    note = (
        f"{TRAIN} images, {EPOCHS} epochs, embedding counted; {HEAD} accuracy on {VAL} val images:"
        f" {ours.result:.3f} and {theirs.result:.3f}"
    )
    return [Row("frozen trainings an hour", 3600 / ours.seconds, 3600 / theirs.seconds, "backbone in each epoch", note)]


def _ours(backbone: Backbone, views: Views, problem: Problem, params: Params) -> Timed:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        features = embed(backbone, views, params.embed, Path(folder) / "features")
        job: Job[Any] = Job(params.recipe("frozen"), views, features, problem, Checkpoint(Path(folder)))
        fitted = probe(job, backbone, None)
        return Timed(time.perf_counter() - start, fitted.scores[HEAD]["accuracy"])


def _usual(backbone: Backbone, views: Views, problem: Problem, params: Params) -> Timed:
    """A linear head under AdamW and a cosine, as tutorials write it; the same backbone, batch, rate and epochs."""
    strategy = params.strategies["frozen"]
    assert isinstance(strategy, FrozenStrategy)
    settings = strategy.probe
    net, objective = backbone.net, problem.objectives[HEAD]
    head = nn.Sequential(nn.BatchNorm1d(backbone.specs["final"].channels, affine=False), nn.Linear(1280, 1))
    optimiser = torch.optim.AdamW(head.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    start, reached = time.perf_counter(), 0.0
    for _ in range(EPOCHS):
        head.train()
        for batch in torch.randperm(TRAIN).split(settings.batch):  # type: ignore[no-untyped-call]
            with torch.no_grad():
                seen = net(backbone.prepare(torch.from_numpy(views.plain[problem.train.rows[batch.numpy()]])))
            loss = objective.loss(head(seen), problem.train.targets[HEAD][batch], 0.0)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
        reached = _accuracy(backbone, head, views, problem)
    return Timed(time.perf_counter() - start, reached)


@torch.no_grad()
def _accuracy(backbone: Backbone, head: nn.Module, views: Views, problem: Problem) -> float:
    seen = [
        head.eval()(backbone.net(backbone.prepare(torch.from_numpy(views.plain[rows]))))
        for rows in np.array_split(problem.val.rows, 4)
    ]
    chosen = problem.objectives[HEAD].decode(torch.cat(seen)).argmax(-1)
    return float((chosen == problem.val.targets[HEAD]).float().mean())
