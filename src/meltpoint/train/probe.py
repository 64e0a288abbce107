"""Heads on features of the frozen backbone: each weight decay is fitted at once, val chooses one for each head."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from meltpoint.arrays import Ints
from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.model import begin_heads, build_heads
from meltpoint.progress import Stopwatch, peak_megabytes, track
from meltpoint.tasks.contract import Scores
from meltpoint.terminal import say
from meltpoint.train.batches import choose_views, cut, mix_one, spread_epochs
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.device import device_type
from meltpoint.train.feature_source import FeatureSource, MeanStd, open_source, part_at_standardise
from meltpoint.train.history_file import TRAIN_LOSS
from meltpoint.train.job import Job
from meltpoint.train.losses import Losses, Validation, check_finite, choose_best, name_scores
from meltpoint.train.optimiser import build_adamw, fill_state, ramp, read_state, set_rate
from meltpoint.train.problem import Problem
from meltpoint.train.stacked_heads import StackedHeads

EMPTY = 0x5EED  # tells the seed of the weights from that of the views


@dataclass(frozen=True)
class Fitted:
    """The chosen heads, each with its weight decay and what it reaches on val (metric name to value)."""

    heads: nn.ModuleDict
    weight_decays: dict[str, float]
    scores: dict[str, dict[str, float]]
    seconds: float  # of all parts of an interrupted fit together
    peak_megabytes: float


class FeatureBatch(NamedTuple):
    """Training images: their numbers (B,), features by tap key, and masks uint8 (B, S, S) if there are any."""

    numbers: Ints
    features: dict[str, Tensor]
    masks: Tensor | None


def probe(job: Job[Any], backbone: Backbone, checkpoint: Checkpoint | None) -> Fitted:
    """Fit the heads as the job's `probe` says, on features of every view; the backbone runs only if none are stored.

    Heads of kind conv begin with a copy of the backbone's last convolution. The fit continues from the `checkpoint`,
    and writes its curves there and, at the first end of an epoch after `checkpoint_steps` steps, its state; without a
    checkpoint an interrupted fit starts again.

    Raises:
        TrainingError: the loss is not a number.
    """
    problem, settings = job.problem, job.settings.probe
    torch.backends.cudnn.deterministic = True  # a continued fit ends with the same weights
    # steps on vectors take a millisecond: more threads would mostly wait for each other
    only_vectors = all(backbone.specs[tap_key(head.reads)].pooled for head in problem.heads.values())
    with use_threads(1 if only_vectors else torch.get_num_threads()):
        watch, fit = Stopwatch("probe"), Fit(job, backbone)
        saved = checkpoint.resume() if checkpoint else None
        first, before = (int(saved.facts["epoch"]), float(saved.facts["seconds"])) if saved else (0, 0.0)
        if saved:
            fit.stacked.fill(saved.part("stacked"))
            fill_state(fit.optimiser, saved.part("optimiser"))
            say(f"continuing from step {first * fit.epoch_steps} of {fit.n_steps}")
        last_saved, scores = first, fit.judge()
        bar = track(range(first, settings.epochs), "heads on features", unit="epoch")
        for epoch in bar:
            losses = fit.run_epoch(epoch)
            scores = fit.judge()
            chosen = {head: choose_best(own, problem.metric) for head, own in scores.items()}
            loss = sum(problem.weights[head] * float(own[chosen[head]]) for head, own in losses.items())
            curves = {TRAIN_LOSS: loss, **name_scores(_at(scores, chosen), problem.weights)}
            if checkpoint:
                checkpoint.log({"epoch": epoch + 1, **curves}, (epoch + 1) * fit.epoch_steps)
            bar.set_postfix_str(f"{problem.main} {problem.metric} {curves[problem.curve]:.3f}", refresh=False)
            if checkpoint and (epoch + 1 - last_saved) * fit.epoch_steps >= job.recipe.machine.checkpoint_steps:
                facts = {"epoch": epoch + 1, "seconds": before + watch.seconds, "peak_megabytes": peak_megabytes()}
                checkpoint.write({"stacked": fit.stacked.parameters, "optimiser": read_state(fit.optimiser)}, facts)
                last_saved = epoch + 1
        chosen = {head: choose_best(own, problem.metric) for head, own in scores.items()}
        return Fitted(
            heads=fit.stacked.take(chosen).cpu().eval(),
            weight_decays={head: settings.weight_decays[place] for head, place in chosen.items()},
            scores=_at(scores, chosen),
            seconds=before + watch.seconds,
            peak_megabytes=peak_megabytes(),
        )


class Fit:
    """Heads with each weight decay, at some epoch."""

    def __init__(self, job: Job[Any], backbone: Backbone) -> None:
        problem, settings = job.problem, job.settings.probe
        self.problem, self.settings, self.seed, self.sampling = (
            problem,
            settings,
            job.recipe.seed,
            job.settings.sampling,
        )
        taps = {name: tap_key(head.reads) for name, head in problem.heads.items()}
        readings = {tap_key(head.reads): head.reads for head in problem.heads.values()}
        self.source = open_source(problem, readings, job.features, backbone)
        # a class of an image is little work
        self.device = torch.device("cpu" if problem.masks is None else device_type())
        heads = _start_heads(problem, backbone, taps, self.source, self.seed).to(self.device)
        self.stacked = StackedHeads(heads, taps, settings.weight_decays)
        targets = {head: values.to(self.device) for head, values in problem.train.targets.items()}
        self.losses = Losses(problem.objectives, problem.weights, targets, settings.label_smoothing)
        self.optimiser = build_adamw(self.stacked.parameters, dict.fromkeys(self.stacked.parameters, 1.0), 0.0)
        self.epoch_steps = math.ceil(len(problem.train.ids) / settings.batch)
        self.n_steps = self.epoch_steps * settings.epochs
        self.block = settings.batch * max(1, self.source.at_once // settings.batch)  # images read at once

    def run_epoch(self, epoch: int) -> dict[str, Tensor]:
        """The steps of an epoch, each image in one of its views; the mean loss (R,) of each head."""
        problem, settings = self.problem, self.settings
        self.stacked.heads.train()
        totals = {head: torch.zeros(len(settings.weight_decays)) for head in problem.heads}
        for step, batch in enumerate(self.batches(epoch), start=epoch * self.epoch_steps):
            rate = settings.lr * ramp(step, self.n_steps, 0.0, settings.schedule)
            torch.manual_seed(mix_one(self.seed, epoch, step))  # dropout
            outputs = self.stacked.outputs(self._move(batch.features))
            masks = None if batch.masks is None else batch.masks.to(self.device)
            losses = self.losses.of_heads(outputs, batch.numbers, masks)
            total = torch.stack([loss.sum() for loss in losses.values()]).sum()  # each decay has gradients of its own
            check_finite(total.item(), step + 1, epoch, rate, problem.train, batch.numbers.tolist())
            self.optimiser.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            set_rate(self.optimiser, rate)
            self.stacked.decay(rate)
            self.optimiser.step()
            for head, loss in losses.items():
                totals[head] += loss.detach().cpu() * (len(batch.numbers) / len(problem.train.ids))
        return totals

    def judge(self) -> dict[str, Scores]:
        """Loss and metrics on val with each weight decay (R,), for each head."""
        self.stacked.heads.eval()
        validation, rows = Validation(self.problem, self.device), self.problem.val.rows
        size = self.block if self.problem.masks is None else self.settings.batch  # as large as masks are heads' outputs
        for numbers in cut(np.arange(len(rows)), size):
            features = self._move(self.source.read_plain(rows[numbers]))
            with torch.no_grad():
                validation.add(self.stacked.outputs(features), numbers)
        return validation.scores()

    def batches(self, epoch: int) -> Iterator[FeatureBatch]:
        """An epoch's images in its order."""
        ids, size, masks = self.problem.train.ids, self.settings.batch, self.problem.masks
        order = self.problem.order(epoch, self.seed, self.sampling)
        blocks = zip(cut(order, self.block), cut(spread_epochs(epoch, order), self.block), strict=True)
        for block, epochs in blocks:
            views = choose_views(self.seed, epochs, ids[block], self.problem.images.count)
            features = self.source.read_train(block, views)
            shown = None if masks is None else torch.from_numpy(masks.read_train(block, views))
            for start in range(0, len(block), size):
                own = slice(start, start + size)
                part = {tap: values[own] for tap, values in features.items()}
                yield FeatureBatch(block[own], part, None if shown is None else shown[own])

    def _move(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {tap: values.to(self.device, non_blocking=True).float() for tap, values in features.items()}


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """While the context lasts torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _at(scores: Mapping[str, Scores], chosen: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """The scores of each head at its chosen place."""
    return {head: {name: float(values[chosen[head]]) for name, values in own.items()} for head, own in scores.items()}


def _start_heads(
    problem: Problem, backbone: Backbone, taps: Mapping[str, str], source: FeatureSource, seed: int
) -> nn.ModuleDict:
    """Heads with weights drawn from the seed alone, standardised by what the training images' plain views give them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix_one(seed, EMPTY))
        heads = build_heads(problem.heads, backbone, problem.n_outputs)
    begin_heads(heads, problem.heads, backbone.params, problem.classes)
    known: dict[tuple[str, str | None], MeanStd] = {}
    for name, head in heads.items():
        before, layer = part_at_standardise(head)
        key = taps[name], name if len(before) else None  # heads that begin with it are given the same
        if key not in known:
            known[key] = source.measure(taps[name], problem.pictures, before.eval())
        layer.fit(*known[key])
    return heads
