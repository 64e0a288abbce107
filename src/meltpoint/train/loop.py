"""The training loop: steps, validation with averaged weights, early stopping, checkpoints. It knows no tasks."""

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from meltpoint.metrics import sign_of
from meltpoint.model.model import Model
from meltpoint.params.strategies import Sampling, Schedule
from meltpoint.progress import Stopwatch, peak_megabytes, track
from meltpoint.terminal import say
from meltpoint.train.batches import Batch, TrainImages, Transform, mix_one
from meltpoint.train.checkpoint import Saved
from meltpoint.train.fused_network import FusedNetwork
from meltpoint.train.history_file import TRAIN_LOSS
from meltpoint.train.job import Job
from meltpoint.train.losses import Losses, TrainingError, Validation, check_finite, name_scores
from meltpoint.train.optimiser import Average, build_adamw, fill_state, ramp, read_state, set_rate

HEADS = "heads"  # in a model: names of the parameters of its heads begin so
LINES = 1000  # of training loss in a history, about: a curve on a screen shows no more


@dataclass(frozen=True)
class Settings:
    """How the loop trains, as params.yaml calls it."""

    epochs: int
    batch: int
    accumulate: int | None  # batches for one step of the optimiser; None: one
    sampling: Sampling | None
    lr: float  # where `scales` is 1
    schedule: Schedule
    warmup: float  # of all steps
    weight_decay: float
    label_smoothing: float
    clip: float | None  # largest norm of the gradient; None: any
    ema: float  # decay of the average of the weights in each step; 0: no average
    patience: int | None  # epochs without a better val metric before stopping; None: it never does


@dataclass(frozen=True)
class Best:
    """The best validation so far. Epoch 0 is the start."""

    epoch: int
    metric: float
    loss: float


class Loop:
    """A training at some step. `run` takes it to its end, from where the checkpoint `saved` has it.

    The weights of the model are those of that step already. The parameters that learn are those in `scales`, with rates
    relative to `settings.lr`. Only the first process writes checkpoints.
    """

    def __init__(
        self, job: Job[Any], model: Model, scales: Mapping[str, float], accelerator: Accelerator, saved: Saved
    ) -> None:
        self.problem, self.seed, self.accelerator = job.problem, job.recipe.seed, accelerator
        self.settings = settings = Settings(
            **job.settings.model_dump(include={field.name for field in fields(Settings)})
        )
        self.device, facts = cast(torch.device, accelerator.device), saved.facts
        self.network = accelerator.prepare_model(FusedNetwork(model))
        self.parameters = {name: value for name, value in model.named_parameters() if name in scales}
        self.constants = {f"{HEADS}.{name}": value for name, value in model.heads.named_buffers()}
        targets = {head: values.to(self.device) for head, values in self.problem.train.targets.items()}
        self.losses = Losses(self.problem.objectives, self.problem.weights, targets, settings.label_smoothing)
        transform: Transform | None = None
        if not self.problem.images.count:
            from meltpoint.images.augment import build_transform  # albumentations takes seconds to import

            transform = build_transform(job.recipe.views.transforms, job.recipe.views.geometry)
        self.images = TrainImages(
            store=self.problem.images,
            masks=self.problem.masks,
            ids=self.problem.train.ids,
            seed=self.seed,
            batch=settings.batch,
            transform=transform,
            workers=job.recipe.machine.workers,
            share=accelerator.process_index,
            shares=accelerator.num_processes,
            chances=self.problem.chances(settings.sampling),
        )
        self.checkpoint = job.checkpoint if accelerator.is_main_process else None
        self.save_every = job.recipe.machine.checkpoint_steps
        self.optimiser = build_adamw(self.parameters, scales, settings.weight_decay)
        fill_state(self.optimiser, saved.part("optimiser"))
        self.average = Average(self.parameters, settings.ema)
        self.step, self.before, self.watch = int(facts["step"]), float(facts["seconds"]), Stopwatch("loop")
        if self.step:
            self.average.fill(saved.part("average"))
        self.best = Best(**facts["best"]) if facts["best"] else None
        self.best_weights = saved.part("best")
        self.loss, self.loss_sum, self.loss_count = 0.0, facts["loss_sum"], facts["loss_count"]  # since the last line
        self.unchecked: tuple[Tensor, int, float, Tensor] | None = None
        self.accumulate = settings.accumulate or 1
        self.epoch_steps = -(-self.images.batches // self.accumulate)
        self.n_steps = self.epoch_steps * settings.epochs
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
        settings, accelerator = self.settings, self.accelerator
        done = self.step - epoch * self.epoch_steps
        batches = self.images.load(epoch, done * self.accumulate, pin=self.device.type == "cuda")
        self.network.train()
        title = f"epoch {epoch + 1} of {settings.epochs}"
        groups = iter(lambda: tuple(islice(batches, self.accumulate)), ())  # of a step; the last one may be smaller
        for group in self._track(groups, title, self.epoch_steps - done):
            rate = settings.lr * ramp(self.step, self.n_steps, settings.warmup, settings.schedule)
            torch.manual_seed(mix_one(self.seed, epoch, self.step, accelerator.process_index))  # dropout
            total = torch.zeros((), device=self.device)
            for number, batch in enumerate(group, start=1):
                with nullcontext() if number == len(group) else accelerator.no_sync(self.network):
                    shown = batch.to(self.device)
                    loss = self.losses(self.network(shown.images), shown.numbers, shown.masks) / len(group)
                    accelerator.backward(loss)
                total += loss.detach()
            self._check_loss()
            self.unchecked = (total, epoch, rate, torch.cat([batch.numbers for batch in group]))
            if settings.clip is not None:
                accelerator.clip_grad_norm_(self.parameters.values(), settings.clip)
            set_rate(self.optimiser, rate)
            self.optimiser.step()
            self.optimiser.zero_grad()
            self.average.update()
            self.step += 1
            if self.step % self.log_every == 0:
                self._log_loss()
            if self.step % self.save_every == 0 and self.step % self.epoch_steps:  # at the end of an epoch: after val
                self._save(finished=False)

    def _check_loss(self) -> None:
        """Look at the loss of the step before: for that of this step a GPU would have to be waited for."""
        if self.unchecked is None:
            return
        total, epoch, rate, numbers = self.unchecked
        loss = total.item()
        check_finite(loss, self.step, epoch, rate, self.problem.train, numbers.tolist())
        self.loss, self.unchecked = loss, None
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1

    def _log_loss(self) -> None:
        """A line with the mean training loss since the line before, over all processes."""
        self._check_loss()
        mean = torch.tensor(self.loss_sum / max(1, self.loss_count), dtype=torch.float32, device=self.device)
        mean = self.accelerator.reduce(mean, "mean")
        rate = max(group["lr"] for group in self.optimiser.param_groups)
        self._log({TRAIN_LOSS: mean.item(), "train/lr": rate})
        self.loss_sum, self.loss_count = 0.0, 0

    def _validate(self, epoch: int) -> Best:
        """Judge the averaged weights, and keep them if their metric is the best so far, or as good at a lower loss."""
        self._check_loss()
        problem, best = self.problem, self.best
        sign = sign_of(problem.metric)
        self.network.eval()
        with self.average.in_place(), torch.no_grad():
            scores = self._judge()
            metric, loss = scores[problem.curve], scores["val/loss"]
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss on val is {loss} after {epoch} epochs ({self.step} steps). It has to be a finite number;"
                    " the weights have grown too large. Lower `lr`, make `warmup` longer, lower `clip`, or set"
                    " train.precision to fp32."
                )
            if best is None or (-sign * metric, loss) < (-sign * best.metric, best.loss):
                self.best = best = Best(epoch, metric, loss)
                self.best_weights = {name: value.detach().cpu().clone() for name, value in self.parameters.items()}
        self._log(scores)
        heads = ", ".join(f"{head} {scores[f'val/{head}/{problem.metric}']:.3f}" for head in problem.heads)
        self._say(
            f"epoch {epoch} of {self.settings.epochs}: val loss {loss:.3f}, {problem.metric} {heads};"
            f" best {problem.main} {best.metric:.3f} in epoch {best.epoch}"
        )
        return best

    def _judge(self) -> dict[str, float]:
        """Curves `val/<head>/<metric>` and `val/loss` of the network as it is, the same in every process.

        Each process runs it over its part of the images; numbers after the last image keep it in step with the others.
        """
        part, count, validation = self.problem.val, len(self.problem.val.rows), Validation(self.problem, self.device)
        size = -(-count // self.accelerator.num_processes)
        own = range(self.accelerator.process_index * size, (self.accelerator.process_index + 1) * size)
        starts = own[:: self.settings.batch]
        for start in track(starts, "val", unit="batch") if self.accelerator.is_main_process else starts:
            numbers = np.arange(start, min(start + self.settings.batch, own.stop))
            images = torch.from_numpy(self.problem.images.read_plain(part.rows[numbers.clip(max=count - 1)]))
            outputs, real = self.network(images.to(self.device, non_blocking=True)), numbers[numbers < count]
            validation.add({head: values[: len(real)] for head, values in outputs.items()}, real)
        scores = validation.scores(self._gather)
        plain = {head: {name: float(value) for name, value in own.items()} for head, own in scores.items()}
        return name_scores(plain, self.problem.weights)

    def _gather(self, rows: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return rows
        padded = self.accelerator.pad_across_processes(rows.to(self.device), pad_index=-1)
        return cast(Tensor, self.accelerator.gather(padded)).cpu()

    def _save(self, finished: bool) -> None:
        self._check_loss()
        peak = self.accelerator.reduce(torch.tensor(peak_megabytes(), device=self.device), "sum").item()
        if self.checkpoint is None:
            return
        tensors: dict[str, Mapping[str, Tensor]] = {
            "weights": self.parameters,
            "constants": self.constants,
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
        self.checkpoint.write(tensors, facts)

    def _track(self, groups: Iterator[tuple[Batch, ...]], title: str, total: int) -> Iterator[tuple[Batch, ...]]:
        """A bar with the loss, drawn by the first process."""
        if not self.accelerator.is_main_process:
            yield from groups
            return
        with track(groups, title, total, "step") as bar:
            for group in bar:
                yield group
                bar.set_postfix_str(f"loss {self.loss:.3f}", refresh=False)

    def _log(self, metrics: Mapping[str, float]) -> None:
        if self.checkpoint:
            self.checkpoint.log({"epoch": self._epochs, **metrics}, self.step)

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            say(text)

    @property
    def _epochs(self) -> float:
        return round(self.step / self.epoch_steps, 6)
