"""Heads on features of the frozen backbone: each weight decay is fitted at once, val chooses one for each head."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.model import build_heads
from meltpoint.params.training import Probe, Sampling
from meltpoint.progress import Stopwatch, peak_megabytes, say, track
from meltpoint.train.batches import Integers, choose_views, mix_one, spread_epochs
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.device import device_type
from meltpoint.train.embed import Features
from meltpoint.train.finite import check_finite
from meltpoint.train.moments import Moments, cut, part_at_standardise
from meltpoint.train.optimiser import build_adamw, fill_moments, ramp, read_moments, set_rate
from meltpoint.train.problem import Problem
from meltpoint.train.replicas import Replicas
from meltpoint.train.scores import alone, name_scores, pick
from meltpoint.train.sinks import TRAIN_LOSS, Silence, Sink
from meltpoint.train.sources import Source, open_source

EMPTY = 0x5EED  # tells the seed of the weights from that of the views

Scores = dict[str, dict[str, NDArray[np.float64]]]  # of each head, of each replica (R,)


@dataclass(frozen=True)
class Fitted:
    """The chosen heads, each with its weight decay and what it reaches on val (metric name to value)."""

    heads: nn.ModuleDict
    weight_decays: dict[str, float]
    scores: dict[str, dict[str, float]]
    seconds: float  # of all parts of an interrupted fit together
    peak_megabytes: float


class Lesson(NamedTuple):
    """A batch of training images: their numbers (B,), features by tap key, and masks uint8 (B, S, S) if there are."""

    numbers: Integers
    features: dict[str, Tensor]
    masks: NDArray[np.uint8] | None


class Fit:
    """A fit of the replicas, at some epoch."""

    def __init__(
        self, problem: Problem, features: Features, backbone: Backbone, settings: Probe, seed: int, sampling: Sampling
    ) -> None:
        self.problem, self.settings, self.seed, self.sampling = problem, settings, seed, sampling
        taps = {name: tap_key(head.reads) for name, head in problem.heads.items()}
        readings = {tap_key(head.reads): head.reads for head in problem.heads.values()}
        self.source = open_source(problem, readings, features, backbone)
        self.device = torch.device(
            "cpu" if problem.masks is None else device_type()
        )  # a class of an image is little work
        heads = _start_heads(problem, backbone, taps, self.source, seed).to(self.device)
        self.replicas = Replicas(heads, taps, settings.weight_decays)
        self.targets = {head: values.to(self.device) for head, values in problem.train.targets.items()}
        self.optimiser = build_adamw(self.replicas.parameters, dict.fromkeys(self.replicas.parameters, 1.0), 0.0)
        self.epoch_steps = math.ceil(len(problem.train.ids) / settings.batch)
        self.n_steps = self.epoch_steps * settings.epochs

    def run_epoch(self, epoch: int) -> dict[str, Tensor]:
        """One pass over an epoch's images, each in one of its views; the mean loss (R,) of each head."""
        self.replicas.heads.train()
        totals = {head: torch.zeros(len(self.replicas.decays)) for head in self.problem.heads}
        for index, lesson in enumerate(self._lessons(epoch)):
            losses = self._step(epoch * self.epoch_steps + index, epoch, lesson)
            for head, loss in losses.items():
                totals[head] += loss.detach().cpu() * (len(lesson.numbers) / len(self.problem.train.ids))
        return totals

    def judge(self) -> Scores:
        """Loss and metrics on val of each replica, for each head."""
        self.replicas.heads.eval()
        tallies = {head: objective.tally() for head, objective in self.problem.objectives.items()}
        val, masks = self.problem.val, self.problem.masks
        size = self._block() if masks is None else self.settings.batch  # as large as masks are what heads then give
        for numbers in cut(np.arange(len(val.rows)), size):
            features = self._move(self.source.read_plain(val.rows[numbers]))
            true = None if masks is None else torch.from_numpy(masks.read_plain(val.rows[numbers])).to(self.device)
            with torch.no_grad():
                outputs = self.replicas.outputs(features)
            for head, tally in tallies.items():
                labels = val.targets[head][numbers].to(self.device)
                tally.add(outputs[head], self.problem.objectives[head].wanted(labels, true))
        return {head: tally.scores(alone) for head, tally in tallies.items()}

    def choose(self, scores: Scores) -> dict[str, int]:
        """Of each head the replica that does best on val."""
        return {head: pick(own, self.problem.metric) for head, own in scores.items()}

    def _step(self, step: int, epoch: int, lesson: "Lesson") -> dict[str, Tensor]:
        rate = self.settings.lr * ramp(step, self.n_steps, 0.0, self.settings.schedule)
        torch.manual_seed(mix_one(self.seed, epoch, step))  # dropout
        outputs = self.replicas.outputs(self._move(lesson.features))
        masks = None if lesson.masks is None else torch.from_numpy(lesson.masks).to(self.device)
        losses = {}
        for head, objective in self.problem.objectives.items():
            targets = objective.wanted(self.targets[head][lesson.numbers], masks)
            losses[head] = objective.loss(outputs[head], targets, self.settings.label_smoothing)
        total = torch.stack([loss.sum() for loss in losses.values()]).sum()  # a replica's gradient is its own alone
        check_finite(total.item(), step + 1, epoch, rate, self.problem.train, lesson.numbers.tolist())
        self.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        set_rate(self.optimiser, rate)
        self.replicas.decay(rate)
        self.optimiser.step()
        return losses

    def _lessons(self, epoch: int) -> Iterator["Lesson"]:
        ids, size, masks = self.problem.train.ids, self.settings.batch, self.problem.masks
        order, blocks = self.problem.order(epoch, self.seed, self.sampling), self._block()
        for block, epochs in zip(cut(order, blocks), cut(spread_epochs(epoch, order), blocks), strict=True):
            views = choose_views(self.seed, epochs, ids[block], self.problem.images.count)
            features = self.source.read_train(block, views)
            shown = None if masks is None else masks.read_train(block, views)
            for start in range(0, len(block), size):
                own = slice(start, start + size)
                part = {tap: values[own] for tap, values in features.items()}
                yield Lesson(block[own], part, None if shown is None else shown[own])

    def _move(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {tap: values.to(self.device, non_blocking=True).float() for tap, values in features.items()}

    def _block(self) -> int:
        """Images whose features are read at once: whole batches."""
        return self.settings.batch * max(1, self.source.at_once // self.settings.batch)


def probe(
    problem: Problem,
    features: Features,
    backbone: Backbone,
    settings: Probe,
    seed: int,
    checkpoint: Checkpoint | None,
    every: int,
    sampling: Sampling,
) -> Fitted:
    """Fit the heads of `problem` on features; no backbone runs where these are stored.

    Args:
        problem: what is to be learnt.
        features: of every view, stored or not.
        backbone: what gives them; heads of kind conv begin with a copy of its last convolution.
        settings: epochs, batch, learning rate, weight decays.
        seed: of the weights, the order and the views.
        checkpoint: where to continue from, save to, and write the curves; None: an interrupted fit starts over.
        every: steps between savings, which happen at the end of an epoch.
        sampling: how often each image is drawn.

    Raises:
        TrainingError: the loss is no number.
    """
    torch.backends.cudnn.deterministic = True  # a continued fit ends with the same weights
    # steps on vectors take a millisecond: more threads would mostly wait for each other
    with use_threads(1 if _is_light(problem, backbone) else torch.get_num_threads()):
        return _probe(Fit(problem, features, backbone, settings, seed, sampling), checkpoint, every)


def _is_light(problem: Problem, backbone: Backbone) -> bool:
    """Whether all heads read vectors."""
    return all(backbone.specs[tap_key(head.reads)].pooled for head in problem.heads.values())


def _probe(fit: Fit, checkpoint: Checkpoint | None, every: int) -> Fitted:
    watch, problem, settings = Stopwatch("probe"), fit.problem, fit.settings
    sink: Sink = checkpoint.history if checkpoint else Silence()
    first, before = _continue(fit, checkpoint)
    saved, scores = first, fit.judge()
    bar = track(range(first, settings.epochs), "heads on features", unit="epoch")
    for epoch in bar:
        losses = fit.run_epoch(epoch)
        scores = fit.judge()
        curves = _curves(problem, scores, fit.choose(scores), losses)
        sink.log({"epoch": epoch + 1, **curves}, (epoch + 1) * fit.epoch_steps)
        bar.set_postfix_str(f"{problem.main} {problem.metric} {curves[problem.curve]:.3f}", refresh=False)
        if checkpoint and (epoch + 1 - saved) * fit.epoch_steps >= every:
            _save(fit, checkpoint, epoch + 1, before + watch.seconds)
            saved = epoch + 1
    return _finish(fit, scores, before + watch.seconds)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """While the context lasts torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _finish(fit: Fit, scores: Scores, seconds: float) -> Fitted:
    chosen = fit.choose(scores)
    decays = {head: fit.settings.weight_decays[index] for head, index in chosen.items()}
    return Fitted(fit.replicas.take(chosen).cpu().eval(), decays, _scores_of(scores, chosen), seconds, peak_megabytes())


def _scores_of(scores: Scores, chosen: Mapping[str, int]) -> dict[str, dict[str, float]]:
    return {head: {name: float(values[chosen[head]]) for name, values in own.items()} for head, own in scores.items()}


def _curves(
    problem: Problem, scores: Scores, chosen: Mapping[str, int], losses: Mapping[str, Tensor]
) -> dict[str, float]:
    train_loss = sum(problem.weights[head] * float(loss[chosen[head]]) for head, loss in losses.items())
    return {TRAIN_LOSS: train_loss, **name_scores(_scores_of(scores, chosen), problem.weights)}


def _start_heads(
    problem: Problem, backbone: Backbone, taps: Mapping[str, str], source: Source, seed: int
) -> nn.ModuleDict:
    """Heads with weights drawn from the seed alone, standardised by what the training images' plain views give them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix_one(seed, EMPTY))
        heads = build_heads(problem.heads, backbone, problem.n_outputs)
    known: dict[tuple[str, str | None], Moments] = {}
    for name, head in heads.items():
        before, layer = part_at_standardise(head)
        key = taps[name], name if len(before) else None  # heads that begin with it are given the same
        if key not in known:
            known[key] = source.measure(taps[name], problem.train.rows, before.eval())
        layer.fit(*known[key])
    return heads


def _save(fit: Fit, checkpoint: Checkpoint, epoch: int, seconds: float) -> None:
    tensors = {f"replicas/{name}": value for name, value in fit.replicas.parameters.items()}
    facts = {"epoch": epoch, "seconds": seconds, "peak_megabytes": peak_megabytes()}
    checkpoint.write(tensors | read_moments(fit.optimiser), facts)


def _continue(fit: Fit, checkpoint: Checkpoint | None) -> tuple[int, float]:
    """Go on from the checkpoint, if there is one: the epoch to begin with, and the seconds spent before."""
    saved = checkpoint.resume() if checkpoint else None
    if saved is None:
        return 0, 0.0
    epoch = int(saved.facts["epoch"])
    with torch.no_grad():
        for name, value in saved.part("replicas").items():
            fit.replicas.parameters[name].copy_(value)
    fill_moments(fit.optimiser, saved.tensors, epoch * fit.epoch_steps)
    say(f"continuing from step {epoch * fit.epoch_steps} of {fit.n_steps}")
    return epoch, float(saved.facts["seconds"])
