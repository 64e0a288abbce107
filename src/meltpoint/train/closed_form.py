"""Heads that are found at once from cached features, without steps: what the strategies that do so share."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from meltpoint.arrays import Ints
from meltpoint.model.backbones import tap_key
from meltpoint.model.model import Model
from meltpoint.params.heads import Head
from meltpoint.progress import Stopwatch, peak_megabytes
from meltpoint.tasks.contract import Objective
from meltpoint.train.batches import cut
from meltpoint.train.feature_source import FeatureSource, open_source
from meltpoint.train.job import Job, Outcome
from meltpoint.train.losses import Validation, name_scores

ROWS = 256  # of features read at once
SHARPEST, BLUNTEST = math.log(1e6), math.log(1e-6)  # logarithms of the factors that are tried


class Cached:
    """Frozen features of a job's images, as its heads read them; the backbone runs only if none are stored."""

    def __init__(self, job: Job[Any], model: Model) -> None:
        self.problem = job.problem
        readings = {tap_key(head.reads): head.reads for head in job.problem.heads.values()}
        self.source: FeatureSource = open_source(job.problem, readings, job.features, model.backbone)

    def read(self, head: Head, rows: Ints) -> Tensor:
        """What a head is given of some rows (n,) of the plain views: float32 (n, D)."""
        key = tap_key(head.reads)
        return torch.cat([self.source.read_plain(part)[key].cpu().float() for part in cut(rows, ROWS)])

    def moments(self, head: Head) -> tuple[Tensor, Tensor]:
        """Mean and deviation (D,) of what a head is given of all training images, which takes no label."""
        return self.source.measure(tap_key(head.reads), self.problem.pictures, nn.Sequential())


def sharpen(objective: Objective, outputs: Tensor, targets: Tensor) -> float:
    """The factor by which outputs (n, K) have the least loss for targets (n,), such as the labels of val.

    The inverse of a temperature (Guo et al.: On Calibration of Modern Neural Networks, ICML 2017).
    """
    outputs = outputs.double()
    found = minimize_scalar(
        lambda factor: float(objective.loss(math.exp(factor) * outputs, targets, 0.0)),
        bounds=(BLUNTEST, SHARPEST),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return math.exp(float(found.x))


def conclude(
    job: Job[Any],
    model: Model,
    outputs: Mapping[str, Tensor],
    heads: Mapping[str, Head],
    watch: Stopwatch,
    trainable: int,
) -> Outcome:
    """The outcome of heads whose `outputs` (n_val, K) for val are given; their scores are the one line of the history.

    Such a training is over at once: where it was interrupted it runs again.
    """
    problem, checkpoint = job.problem, job.checkpoint
    validation = Validation(problem, torch.device("cpu"))
    validation.add(outputs, np.arange(len(problem.val.rows)))
    scores = {head: {name: float(value) for name, value in own.items()} for head, own in validation.scores().items()}
    checkpoint.resume()
    checkpoint.log({"epoch": 0, **name_scores(scores, problem.weights)}, 0)
    return Outcome(
        model=model,
        heads=heads,
        trainable=trainable,
        epochs=0,
        seconds=watch.seconds,
        peak_megabytes=peak_megabytes(),
        sentence=f"{problem.describe(scores)} on val",
    )
