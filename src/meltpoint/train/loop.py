"""The training loop: steps, validation with averaged weights, early stopping, checkpoints. It knows no tasks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from meltpoint.metrics import sign_of
from meltpoint.params.training import Schedule
from meltpoint.progress import Stopwatch, peak_megabytes, say, track
from meltpoint.train.batches import Batch, TrainImages, mix_one
from meltpoint.train.checkpoint import Checkpoint, Saved
from meltpoint.train.finite import check_finite, check_val
from meltpoint.train.optimiser import Average, build_adamw, fill_moments, ramp, read_moments, set_rate
from meltpoint.train.problem import Problem
from meltpoint.train.scores import Losses
from meltpoint.train.sinks import TRAIN_LOSS, Silence, Sink

LINES = 1000  # of training loss in a history, about: a curve on a screen shows no more


@dataclass(frozen=True)
class Settings:
    """How the loop trains, as params.yaml calls it."""

    epochs: int
    accumulate: int  # batches for one step of the optimiser
    lr: float  # where `scales` is 1
    schedule: Schedule
    warmup: float  # of all steps
    weight_decay: float
    clip: float  # largest norm of the gradient
    ema: float  # decay of the average of the weights in each step; 0: no average
    patience: int  # epochs without a better val metric before stopping


@dataclass(frozen=True)
class Best:
    """The best validation so far. Epoch 0 is the start."""

    epoch: int
    metric: float
    loss: float

    def is_beaten_by(self, metric: float, loss: float, sign: int) -> bool:
        """A better metric, more being better if `sign` is 1 and less if -1, or the same with a lower loss."""
        return (-sign * metric, loss) < (-sign * self.metric, self.loss)


@dataclass(frozen=True)
class Parts:
    """What the loop joins. Only the first process has a `checkpoint` to write."""

    accelerator: Accelerator
    network: nn.Module  # as accelerate prepared it: images uint8 (B, S, S, 3) to outputs (B, ...) of each head
    parameters: Mapping[str, nn.Parameter]  # those that learn
    scales: Mapping[str, float]  # their learning rates, relative to `settings.lr`
    losses: Losses
    images: TrainImages
    judge: Callable[[], dict[str, float]]  # validates the network as it is; the same answer in every process
    constants: Mapping[str, Tensor]  # of the network, that a checkpoint has to hold besides
    problem: Problem
    settings: Settings
    seed: int
    every: int  # steps between checkpoints
    checkpoint: Checkpoint | None


class Loop:
    """A training at some step. `run` takes it to its end, from wherever `fill` has put it."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.settings = parts, parts.settings
        self.sink: Sink = parts.checkpoint.history if parts.checkpoint else Silence()
        self.optimiser = build_adamw(parts.parameters, parts.scales, parts.settings.weight_decay)
        self.average = Average(parts.parameters, parts.settings.ema)
        self.best: Best | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.step, self.before, self.watch = 0, 0.0, Stopwatch("loop")
        self.loss, self.loss_sum, self.loss_count = 0.0, 0.0, 0  # of the last step; since the last line of the history
        self.unchecked: tuple[Tensor, int, float, Tensor] | None = None
        self.epoch_steps = -(-parts.images.batches // parts.settings.accumulate)
        self.n_steps = self.epoch_steps * parts.settings.epochs
        self.log_every = max(1, self.n_steps // LINES)

    def fill(self, saved: Saved) -> None:
        """Go back to a saved moment, except for the weights of the network, which its maker fills."""
        facts = saved.facts
        self.step, self.before = facts["step"], facts["seconds"]
        self.loss_sum, self.loss_count = facts["loss_sum"], facts["loss_count"]
        self.best = Best(**facts["best"]) if facts["best"] else None
        self.best_weights = saved.part("best")
        self.average.fill(saved.part("average"))
        fill_moments(self.optimiser, saved.tensors, self.step)

    def run(self) -> None:
        """Train to the last epoch, or until `patience` epochs in a row were no better."""
        if self.best is None:
            self._validate(0)
        first = self.step // self.epoch_steps
        start = Stopwatch("epochs")
        for epoch in range(first, self.settings.epochs):
            self._run_epoch(epoch)
            self._validate(epoch + 1)
            stop = epoch + 1 == self.settings.epochs or self._is_stuck(epoch + 1)
            self._save(finished=stop)
            if stop:
                return
            left = round(start.seconds / (epoch + 1 - first) * (self.settings.epochs - epoch - 1))
            self._say(f"about {left // 60} min {left % 60:02} s left")

    def _run_epoch(self, epoch: int) -> None:
        self.parts.network.train()
        done = self.step - epoch * self.epoch_steps
        batches = self.parts.images.load(epoch, done * self.settings.accumulate, self._device.type == "cuda")
        groups = _group(batches, self.settings.accumulate)
        title = f"epoch {epoch + 1} of {self.settings.epochs}"
        for group in self._track(groups, title, self.epoch_steps - done):
            self._take_step(epoch, group)
            if self.step % self.log_every == 0:
                self._log_loss()
            if self.step % self.parts.every == 0 and self.step % self.epoch_steps:  # at the end of an epoch, after val
                self._save(finished=False)

    def _take_step(self, epoch: int, group: tuple[Batch, ...]) -> None:
        parts, device = self.parts, self._device
        rate = self.settings.lr * ramp(self.step, self.n_steps, self.settings.warmup, self.settings.schedule)
        torch.manual_seed(mix_one(parts.seed, epoch, self.step, parts.accelerator.process_index))  # dropout
        total = torch.zeros((), device=device)
        for index, batch in enumerate(group):
            last = index == len(group) - 1
            with nullcontext() if last else parts.accelerator.no_sync(parts.network):
                shown = batch.to(device)
                loss = parts.losses(parts.network(shown.images), shown.numbers, shown.masks) / len(group)
                parts.accelerator.backward(loss)
            total += loss.detach()
        self._check_loss()
        self.unchecked = (total, epoch, rate, torch.cat([batch.numbers for batch in group]))
        parts.accelerator.clip_grad_norm_(parts.parameters.values(), self.settings.clip)
        set_rate(self.optimiser, rate)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update()
        self.step += 1

    def _check_loss(self) -> None:
        """Look at the loss of the step before: at that of this step a GPU would have to be waited for."""
        if self.unchecked is None:
            return
        total, epoch, rate, numbers = self.unchecked
        loss = total.item()
        check_finite(loss, self.step, epoch, rate, self.parts.problem.train, numbers.tolist())
        self.loss, self.unchecked = loss, None
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1

    def _log_loss(self) -> None:
        """A line with the mean training loss since the line before, over all processes."""
        self._check_loss()
        mean = torch.tensor(self.loss_sum / max(1, self.loss_count), dtype=torch.float32, device=self._device)
        mean = self.parts.accelerator.reduce(mean, "mean")
        rate = max(group["lr"] for group in self.optimiser.param_groups)
        self.sink.log({"epoch": self._epochs, TRAIN_LOSS: mean.item(), "train/lr": rate}, self.step)
        self.loss_sum, self.loss_count = 0.0, 0

    def _validate(self, epoch: int) -> None:
        """Judge the averaged weights, and keep them if they are the best so far."""
        self._check_loss()
        parts = self.parts
        parts.network.eval()
        with self.average.in_place(), torch.no_grad():
            scores = parts.judge()
            metric, loss = scores[parts.problem.curve], scores["val/loss"]
            check_val(loss, self.step, epoch)
            if self.best is None or self.best.is_beaten_by(metric, loss, sign_of(parts.problem.metric)):
                self.best = Best(epoch, metric, loss)
                self.best_weights = {name: value.detach().cpu().clone() for name, value in parts.parameters.items()}
        self.sink.log({"epoch": self._epochs, **scores}, self.step)
        self._say(f"epoch {epoch} of {self.settings.epochs}: {self._describe(scores)}")

    def _describe(self, scores: Mapping[str, float]) -> str:
        assert self.best is not None
        problem = self.parts.problem
        heads = ", ".join(f"{head} {scores[f'val/{head}/{problem.metric}']:.3f}" for head in problem.heads)
        best = f"best {problem.main} {self.best.metric:.3f} in epoch {self.best.epoch}"
        return f"val loss {scores['val/loss']:.3f}, {problem.metric} {heads}; {best}"

    def _is_stuck(self, epoch: int) -> bool:
        assert self.best is not None
        if epoch - self.best.epoch < self.settings.patience:
            return False
        self._say(f"no better for {epoch - self.best.epoch} epochs: stopping")
        return True

    def _save(self, finished: bool) -> None:
        self._check_loss()
        parts = self.parts
        peak = parts.accelerator.reduce(torch.tensor(peak_megabytes(), device=self._device), "sum").item()
        if parts.checkpoint is None:
            return
        tensors = {
            **_below("weights", parts.parameters),
            **_below("constants", parts.constants),
            **_below("average", self.average.values),
            **_below("best", self.best_weights),
            **read_moments(self.optimiser),
        }
        facts = {
            "step": self.step,
            "epochs": self._epochs,
            "best": asdict(self.best) if self.best else None,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "seconds": self.before + self.watch.seconds,
            "peak_megabytes": peak,
            "finished": finished,
        }
        parts.checkpoint.write(tensors, facts)

    def _track(self, groups: Iterator[tuple[Batch, ...]], title: str, total: int) -> Iterator[tuple[Batch, ...]]:
        """A bar with the loss, drawn by the first process."""
        if not self.parts.accelerator.is_main_process:
            yield from groups
            return
        with track(groups, title, total, "step") as bar:
            for group in bar:
                yield group
                bar.set_postfix_str(f"loss {self.loss:.3f}", refresh=False)

    def _say(self, text: str) -> None:
        if self.parts.accelerator.is_main_process:
            say(text)

    @property
    def _epochs(self) -> float:
        return round(self.step / self.epoch_steps, 6)

    @property
    def _device(self) -> torch.device:
        return cast(torch.device, self.parts.accelerator.device)


def _group(batches: Iterator[Batch], size: int) -> Iterator[tuple[Batch, ...]]:
    """The batches that make a step, `size` at a time; the last group may be smaller."""
    while group := tuple(islice(batches, size)):
        yield group


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}
