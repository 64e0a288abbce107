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
from meltpoint.train.history_file import TRAIN_LOSS, History
from meltpoint.train.losses import Losses
from meltpoint.train.nan_check import check_finite, check_val
from meltpoint.train.optimiser import Average, build_adamw, fill_state, ramp, read_state, set_rate
from meltpoint.train.problem import Problem

LINES = 1000  # of training loss in a history, about: a curve on a screen shows no more


@dataclass(frozen=True)
class Settings:
    """How the loop trains, as params.yaml calls it."""

    epochs: int
    accumulate: int | None  # batches for one step of the optimiser; None: one
    lr: float  # where `scales` is 1
    schedule: Schedule
    warmup: float  # of all steps
    weight_decay: float
    clip: float | None  # largest norm of the gradient; None: any
    ema: float  # decay of the average of the weights in each step; 0: no average
    patience: int | None  # epochs without a better val metric before stopping; None: it never does


@dataclass(frozen=True)
class Best:
    """The best validation so far. Epoch 0 is the start."""

    epoch: int
    metric: float
    loss: float


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
    """A training at some step. `run` takes it to its end, from where the checkpoint `saved` has it.

    The weights of the network are those of that step already.
    """

    def __init__(self, parts: Parts, saved: Saved) -> None:
        self.parts, self.settings, facts = parts, parts.settings, saved.facts
        self.device = cast(torch.device, parts.accelerator.device)
        self.history = parts.checkpoint.history if parts.checkpoint else History(None)
        self.optimiser = build_adamw(parts.parameters, parts.scales, parts.settings.weight_decay)
        fill_state(self.optimiser, saved.part("optimiser"))
        self.average = Average(parts.parameters, parts.settings.ema)
        self.step, self.before, self.watch = int(facts["step"]), float(facts["seconds"]), Stopwatch("loop")
        if self.step:
            self.average.fill(saved.part("average"))
        self.best = Best(**facts["best"]) if facts["best"] else None
        self.best_weights = saved.part("best")
        self.loss, self.loss_sum, self.loss_count = 0.0, facts["loss_sum"], facts["loss_count"]  # since the last line
        self.unchecked: tuple[Tensor, int, float, Tensor] | None = None
        self.accumulate = parts.settings.accumulate or 1
        self.epoch_steps = -(-parts.images.batches // self.accumulate)
        self.n_steps = self.epoch_steps * parts.settings.epochs
        self.log_every = max(1, self.n_steps // LINES)

    def run(self) -> None:
        """Train to the last epoch, or until `patience` epochs in a row were no better."""
        epochs, watch, first = self.settings.epochs, Stopwatch("epochs"), self.step // self.epoch_steps
        if self.step:
            self._say(f"continuing from step {self.step} of {self.n_steps}")
        best = self.best or self._validate(0)
        for epoch in range(first, epochs):
            self.run_epoch(epoch)
            best = self._validate(epoch + 1)
            stuck = self.settings.patience is not None and epoch + 1 - best.epoch >= self.settings.patience
            self._save(finished=stuck or epoch + 1 == epochs)
            if epoch + 1 == epochs:
                return
            if stuck:
                self._say(f"no better for {epoch + 1 - best.epoch} epochs: stopping")
                return
            left = round(watch.seconds / (epoch + 1 - first) * (epochs - epoch - 1))
            self._say(f"about {left // 60} min {left % 60:02} s left")

    def run_epoch(self, epoch: int) -> None:
        """The steps of an epoch that are left: forward, backward, clip, update, and what is due between two steps."""
        parts, settings, accelerator = self.parts, self.settings, self.parts.accelerator
        done = self.step - epoch * self.epoch_steps
        batches = parts.images.load(epoch, done * self.accumulate, pin=self.device.type == "cuda")
        parts.network.train()
        title = f"epoch {epoch + 1} of {settings.epochs}"
        for group in self._track(_group(batches, self.accumulate), title, self.epoch_steps - done):
            rate = settings.lr * ramp(self.step, self.n_steps, settings.warmup, settings.schedule)
            torch.manual_seed(mix_one(parts.seed, epoch, self.step, accelerator.process_index))  # dropout
            total = torch.zeros((), device=self.device)
            for number, batch in enumerate(group, start=1):
                with nullcontext() if number == len(group) else accelerator.no_sync(parts.network):
                    shown = batch.to(self.device)
                    loss = parts.losses(parts.network(shown.images), shown.numbers, shown.masks) / len(group)
                    accelerator.backward(loss)
                total += loss.detach()
            self._check_loss()
            self.unchecked = (total, epoch, rate, torch.cat([batch.numbers for batch in group]))
            if settings.clip is not None:
                accelerator.clip_grad_norm_(parts.parameters.values(), settings.clip)
            set_rate(self.optimiser, rate)
            self.optimiser.step()
            self.optimiser.zero_grad()
            self.average.update()
            self.step += 1
            if self.step % self.log_every == 0:
                self._log_loss()
            if self.step % parts.every == 0 and self.step % self.epoch_steps:  # at the end of an epoch: after val
                self._save(finished=False)

    def _check_loss(self) -> None:
        """Look at the loss of the step before: for that of this step a GPU would have to be waited for."""
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
        mean = torch.tensor(self.loss_sum / max(1, self.loss_count), dtype=torch.float32, device=self.device)
        mean = self.parts.accelerator.reduce(mean, "mean")
        rate = max(group["lr"] for group in self.optimiser.param_groups)
        self.history.log({"epoch": self._epochs, TRAIN_LOSS: mean.item(), "train/lr": rate}, self.step)
        self.loss_sum, self.loss_count = 0.0, 0

    def _validate(self, epoch: int) -> Best:
        """Judge the averaged weights, and keep them if their metric is the best so far, or as good at a lower loss."""
        self._check_loss()
        parts, problem, best = self.parts, self.parts.problem, self.best
        sign = sign_of(problem.metric)
        parts.network.eval()
        with self.average.in_place(), torch.no_grad():
            scores = parts.judge()
            metric, loss = scores[problem.curve], scores["val/loss"]
            check_val(loss, self.step, epoch)
            if best is None or (-sign * metric, loss) < (-sign * best.metric, best.loss):
                self.best = best = Best(epoch, metric, loss)
                self.best_weights = {name: value.detach().cpu().clone() for name, value in parts.parameters.items()}
        self.history.log({"epoch": self._epochs, **scores}, self.step)
        heads = ", ".join(f"{head} {scores[f'val/{head}/{problem.metric}']:.3f}" for head in problem.heads)
        self._say(
            f"epoch {epoch} of {self.settings.epochs}: val loss {loss:.3f}, {problem.metric} {heads};"
            f" best {problem.main} {best.metric:.3f} in epoch {best.epoch}"
        )
        return best

    def _save(self, finished: bool) -> None:
        self._check_loss()
        parts = self.parts
        peak = parts.accelerator.reduce(torch.tensor(peak_megabytes(), device=self.device), "sum").item()
        if parts.checkpoint is None:
            return
        tensors: dict[str, Mapping[str, Tensor]] = {
            "weights": parts.parameters,
            "constants": parts.constants,
            "average": self.average.values,
            "best": self.best_weights,
            "optimiser": read_state(self.optimiser),
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


def _group(batches: Iterator[Batch], size: int) -> Iterator[tuple[Batch, ...]]:
    """The batches that make a step, `size` at a time; the last group may be smaller."""
    while group := tuple(islice(batches, size)):
        yield group
