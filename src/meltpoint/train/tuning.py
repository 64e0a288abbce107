"""A model trained from its images by the loop, from fitted heads on: for strategies that change the backbone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from meltpoint.arrays import Ints
from meltpoint.model.model import Model
from meltpoint.params.data import ViewRow
from meltpoint.progress import track
from meltpoint.tasks.contract import Tally
from meltpoint.train.batches import TrainImages, Transform
from meltpoint.train.checkpoint import Checkpoint, Saved
from meltpoint.train.device import build_accelerator
from meltpoint.train.fused_network import FusedNetwork
from meltpoint.train.job import Job
from meltpoint.train.loop import Loop, Parts, Settings
from meltpoint.train.losses import Losses, name_scores
from meltpoint.train.probe import Fitted
from meltpoint.train.problem import Problem

HEADS, BACKBONE = "heads", "backbone"


@dataclass(frozen=True)
class Judge:
    """Validates a network: each process runs it over its part of the images, and all get the scores of all images."""

    accelerator: Accelerator
    network: nn.Module
    problem: Problem
    batch: int

    def __call__(self) -> dict[str, float]:
        """Curves `val/<head>/<metric>` and `val/loss` of the network as it is; each image counts once."""
        tallies = {head: objective.tally() for head, objective in self.problem.objectives.items()}
        count, share = len(self.problem.val.rows), self.accelerator.process_index
        size = -(-count // self.accelerator.num_processes)
        own = range(share * size, (share + 1) * size)
        starts = own[:: self.batch]
        for start in track(starts, "val", unit="batch") if self.accelerator.is_main_process else starts:
            numbers = np.arange(start, min(start + self.batch, own.stop))
            self._take(numbers, int((numbers < count).sum()), tallies)
        scores = {head: tally.scores(self._gather) for head, tally in tallies.items()}
        plain = {head: {name: float(value) for name, value in own.items()} for head, own in scores.items()}
        return name_scores(plain, self.problem.weights)

    def _take(self, numbers: Ints, real: int, tallies: Mapping[str, Tally]) -> None:
        """Run a batch; numbers after the first `real` stand for no image, and keep this process in step with others."""
        part, device = self.problem.val, self.accelerator.device
        rows = part.rows[numbers.clip(max=len(part.rows) - 1)]
        images = torch.from_numpy(self.problem.images.read_plain(rows))
        outputs = self.network(images.to(device, non_blocking=True))
        store = self.problem.masks
        masks = None if store is None else torch.from_numpy(store.read_plain(rows[:real])).to(device)
        for head, tally in tallies.items():
            labels = part.targets[head][numbers[:real]].to(device)
            tally.add(outputs[head][:real], self.problem.objectives[head].wanted(labels, masks))

    def _gather(self, rows: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return rows
        padded = self.accelerator.pad_across_processes(rows.to(self.accelerator.device), pad_index=-1)
        return cast(Tensor, self.accelerator.gather(padded)).cpu()


def start_from(fitted: Fitted, checkpoint: Checkpoint) -> None:
    """Save the fitted heads as step 0 of a fine-tuning."""
    weights = {f"{HEADS}.{name}": value for name, value in fitted.heads.named_parameters()}
    constants = {f"{HEADS}.{name}": value for name, value in fitted.heads.named_buffers()}
    facts = {"step": 0, "epochs": 0.0, "best": None, "loss_sum": 0.0, "loss_count": 0, "finished": False}
    facts |= {"seconds": fitted.seconds, "peak_megabytes": fitted.peak_megabytes}
    checkpoint.write({"weights": weights, "constants": constants}, facts)


def tune(job: Job[Any], model: Model, scales: Mapping[str, float]) -> None:
    """Take the training in the job's checkpoint to its end, as the only process or one of several; the first one saves.

    The parameters that learn are those in `scales`, with rates relative to `lr`. The job's settings say how, as those
    of `finetune` do. `model` ends with the weights of the last step, in eval mode, on the CPU.

    Raises:
        TrainingError: the loss is not a number.
    """
    saved = job.checkpoint.read()
    assert saved is not None, "start_from comes first"
    torch.backends.cudnn.deterministic = True  # a continued training ends with the same weights
    accelerator = build_accelerator(job.recipe.machine)
    fill_model(model, saved, "weights")
    Loop(join(job, model, scales, accelerator), saved).run()
    model.cpu().eval()


def fill_model(model: Model, saved: Saved, part: str) -> None:
    """Give a model the weights that stand under `part` in a checkpoint, and the constants."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in {**saved.part("constants"), **saved.part(part)}.items():
            own[name].copy_(value)


def join(job: Job[Any], model: Model, scales: Mapping[str, float], accelerator: Accelerator) -> Parts:
    """What the loop needs to train the model in this process."""
    recipe, settings, problem = job.recipe, job.settings, job.problem
    network = accelerator.prepare_model(FusedNetwork(model))
    targets = {head: values.to(accelerator.device) for head, values in problem.train.targets.items()}
    images = TrainImages(
        store=problem.images,
        masks=problem.masks,
        ids=problem.train.ids,
        seed=recipe.seed,
        batch=settings.batch,
        transform=None if problem.images.count else _transform(recipe.views),
        workers=recipe.machine.workers,
        share=accelerator.process_index,
        shares=accelerator.num_processes,
        chances=problem.chances(settings.sampling),
    )
    return Parts(
        accelerator=accelerator,
        network=network,
        parameters={name: parameter for name, parameter in model.named_parameters() if name in scales},
        scales=scales,
        losses=Losses(problem.objectives, problem.weights, targets, settings.label_smoothing),
        images=images,
        judge=Judge(accelerator, network, problem, settings.batch),
        constants={f"{HEADS}.{name}": value for name, value in model.heads.named_buffers()},
        problem=problem,
        settings=Settings(**settings.model_dump(include={field.name for field in fields(Settings)})),
        seed=recipe.seed,
        every=recipe.machine.checkpoint_steps,
        checkpoint=job.checkpoint if accelerator.is_main_process else None,
    )


def _transform(views: ViewRow) -> Transform:
    from meltpoint.images.augment import build_transform  # albumentations takes seconds to import

    transform: Transform = build_transform(views.transforms, views.geometry)
    return transform
