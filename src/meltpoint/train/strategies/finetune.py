"""Strategy `finetune`: from the heads that frozen features give, with the last stages of the backbone learning too."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from meltpoint.arrays import Ints
from meltpoint.model.model import Model
from meltpoint.params.data import ViewRow
from meltpoint.params.training import FinetuneStrategy
from meltpoint.progress import say, track
from meltpoint.tasks.contract import Tally
from meltpoint.train.batches import TrainImages, Transform
from meltpoint.train.checkpoint import Checkpoint, Saved
from meltpoint.train.device import build_accelerator, check_processes
from meltpoint.train.fused_network import FusedNetwork
from meltpoint.train.job import Job, Outcome
from meltpoint.train.launch import launch
from meltpoint.train.loop import Loop, Parts, Settings
from meltpoint.train.losses import Losses, name_scores
from meltpoint.train.optimiser import scale_stages
from meltpoint.train.probe import Fitted, probe
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


def train(job: Job[FinetuneStrategy]) -> Outcome:
    """Fit the heads on frozen features, then train them with the last stages of the backbone."""
    settings, problem, checkpoint, machine = job.settings, job.problem, job.checkpoint, job.recipe.machine
    check_processes(machine, settings.batch, len(problem.train.ids))
    model, saved = job.build_model(), checkpoint.resume()
    if saved is None:
        probed = probe(
            problem, job.features, model.backbone, settings.probe, job.recipe.seed, None, 0, settings.sampling
        )
        say(f"Heads on frozen features: {problem.describe(probed.scores)} on val. Now the backbone learns too.")
        start_from(probed, checkpoint)
        saved = checkpoint.read()
    if not (saved and saved.facts["finished"]):
        if (machine.processes or 1) == 1:
            finetune(job, model)
        else:
            launch(job)
        saved = checkpoint.read()
    assert saved is not None
    scales = unfreeze(model, settings)
    fill_model(model, saved, "best")
    facts, best = saved.facts, saved.facts["best"]
    return Outcome(
        model=model,
        trainable=sum(value.numel() for name, value in model.named_parameters() if name in scales),
        epochs=facts["epochs"],
        seconds=facts["seconds"],
        peak_megabytes=facts["peak_megabytes"],
        sentence=f"{problem.main} {problem.metric} {best['metric']:.3f} on val in epoch {best['epoch']}",
    )


def work(job: Job[FinetuneStrategy]) -> None:
    """`finetune` in one of several processes."""
    finetune(job, job.build_model())


def start_from(fitted: Fitted, checkpoint: Checkpoint) -> None:
    """Save the fitted heads as step 0 of a fine-tuning."""
    weights = {f"{HEADS}.{name}": value for name, value in fitted.heads.named_parameters()}
    constants = {f"{HEADS}.{name}": value for name, value in fitted.heads.named_buffers()}
    facts = {"step": 0, "epochs": 0.0, "best": None, "loss_sum": 0.0, "loss_count": 0, "finished": False}
    facts |= {"seconds": fitted.seconds, "peak_megabytes": fitted.peak_megabytes}
    checkpoint.write({"weights": weights, "constants": constants}, facts)


def finetune(job: Job[FinetuneStrategy], model: Model) -> None:
    """Take the training in the job's checkpoint to its end, as the only process or one of several; the first one saves.

    `model` comes from `job.build_model`, and ends with the weights of the last step, in eval mode, on the CPU.

    Raises:
        TrainingError: the loss is no number.
        UnfreezeError: the backbone has fewer stages than are to be unfrozen.
    """
    saved = job.checkpoint.read()
    assert saved is not None, "start_from comes first"
    torch.backends.cudnn.deterministic = True  # a continued training ends with the same weights
    accelerator = build_accelerator(job.recipe.machine)
    fill_model(model, saved, "weights")
    Loop(join(job, model, accelerator), saved).run()
    model.cpu().eval()


def fill_model(model: Model, saved: Saved, part: str) -> None:
    """Give a model the weights that stand under `part` in a checkpoint, and the constants."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in {**saved.part("constants"), **saved.part(part)}.items():
            own[name].copy_(value)


def unfreeze(model: Model, strategy: FinetuneStrategy) -> dict[str, float]:
    """Let the heads and the last stages learn, and nothing else; names of what learns, and rates relative to `lr`.

    What no gradient reaches, such as a stage after the last tap, stays frozen. Below the first parameter that learns
    no gradient is computed, and no activation kept.
    """
    stages = scale_stages(model.backbone.stages(), strategy.unfreeze, strategy.layer_decay or 1.0)
    slower = strategy.backbone_lr / strategy.lr
    scales = {f"{BACKBONE}.{name}": slower * scale for name, scale in stages.items()}
    scales |= {f"{HEADS}.{name}": 1.0 for name, _ in model.heads.named_parameters()}
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in scales)
    images = torch.zeros((1, model.backbone.size, model.backbone.size, 3), dtype=torch.uint8)
    total = torch.stack([output.sum() for output in model(images).values()]).sum()
    gradients = torch.autograd.grad(total, [parameters[name] for name in scales], allow_unused=True)
    for name, gradient in zip(list(scales), gradients, strict=True):
        if gradient is None:
            parameters[name].requires_grad_(False)
            del scales[name]
    return scales


def join(job: Job[FinetuneStrategy], model: Model, accelerator: Accelerator) -> Parts:
    """What the loop needs to train the model in this process."""
    recipe, settings, problem = job.recipe, job.settings, job.problem
    scales = unfreeze(model, settings)
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
