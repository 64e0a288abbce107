"""Strategy `finetune`: from the heads that frozen features give, with the last stages of the backbone learning too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from meltpoint.images.views import Views
from meltpoint.model.backbones import build_backbone
from meltpoint.model.model import Model, build_heads
from meltpoint.params.read import Params
from meltpoint.params.training import FinetuneStrategy
from meltpoint.progress import say, track
from meltpoint.task.objective import Tally
from meltpoint.train.batches import Integers, TrainImages, Transform
from meltpoint.train.checkpoint import Checkpoint, Saved
from meltpoint.train.device import build_accelerator
from meltpoint.train.folded import Folded
from meltpoint.train.frozen import Fitted
from meltpoint.train.goal import Goal
from meltpoint.train.loop import Loop, Parts
from meltpoint.train.optimiser import scale_stages
from meltpoint.train.scores import Losses, name_scores

HEADS, BACKBONE = "heads", "backbone"


@dataclass(frozen=True)
class Judge:
    """Validates a network: each process runs it over its part of the images, and all get the scores of all images."""

    accelerator: Accelerator
    network: nn.Module
    goal: Goal
    batch: int

    def __call__(self) -> dict[str, float]:
        """Curves `val/<head>/<metric>` and `val/loss` of the network as it is; each image counts once."""
        tallies = {head: objective.tally() for head, objective in self.goal.objectives.items()}
        count, share = len(self.goal.val.rows), self.accelerator.process_index
        size = -(-count // self.accelerator.num_processes)
        own = range(share * size, (share + 1) * size)
        starts = own[:: self.batch]
        for start in track(starts, "val", unit="batch") if self.accelerator.is_main_process else starts:
            numbers = np.arange(start, min(start + self.batch, own.stop))
            self._take(numbers, int((numbers < count).sum()), tallies)
        scores = {head: tally.scores(self._gather) for head, tally in tallies.items()}
        plain = {head: {name: float(value) for name, value in own.items()} for head, own in scores.items()}
        return name_scores(plain, self.goal.weights)

    def _take(self, numbers: Integers, real: int, tallies: Mapping[str, Tally]) -> None:
        """Run a batch; numbers after the first `real` stand for no image, and keep this process in step with others."""
        part, device = self.goal.val, self.accelerator.device
        rows = part.rows[numbers.clip(max=len(part.rows) - 1)]
        images = torch.from_numpy(self.goal.images.read_plain(rows))
        outputs = self.network(images.to(device, non_blocking=True))
        store = self.goal.masks
        masks = None if store is None else torch.from_numpy(store.read_plain(rows[:real])).to(device)
        for head, tally in tallies.items():
            labels = part.targets[head][numbers[:real]].to(device)
            tally.add(outputs[head][:real], self.goal.objectives[head].wanted(labels, masks))

    def _gather(self, rows: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return rows
        padded = self.accelerator.pad_across_processes(rows.to(self.accelerator.device), pad_index=-1)
        return cast(Tensor, self.accelerator.gather(padded)).cpu()


def start_from(fitted: Fitted, checkpoint: Checkpoint) -> None:
    """Make the fitted heads the first moment of a fine-tuning: step 0."""
    weights = {f"weights/{HEADS}.{name}": value for name, value in fitted.heads.named_parameters()}
    constants = {f"constants/{HEADS}.{name}": value for name, value in fitted.heads.named_buffers()}
    facts = {"step": 0, "epochs": 0.0, "best": None, "loss_sum": 0.0, "loss_count": 0, "finished": False}
    checkpoint.write(weights | constants, {**facts, "seconds": fitted.seconds, "peak_megabytes": fitted.peak_megabytes})


def work(params: Params, strategy: FinetuneStrategy, goal: Goal, views: Views, checkpoint: Checkpoint) -> None:
    """`train_model` of a model of its own: what each of several processes does."""
    train_model(build_model(params, goal, views.size), params, strategy, goal, checkpoint)


def train_model(model: Model, params: Params, strategy: FinetuneStrategy, goal: Goal, checkpoint: Checkpoint) -> None:
    """Take the training in `checkpoint` to its end, as the only process or one of several; the first one writes.

    `model` comes from `build_model`, and ends with the weights of the last step, in eval mode, on the CPU.

    Raises:
        TrainingError: the loss is no number.
        UnfreezeError: the backbone has fewer stages than are to be unfrozen.
    """
    saved = checkpoint.read()
    assert saved is not None, "start_from comes first"
    torch.backends.cudnn.deterministic = True  # a continued training ends with the same weights
    accelerator = build_accelerator(params.train)
    fill_model(model, saved, "weights")
    loop = Loop(_join(params, strategy, goal, checkpoint, accelerator, model))
    loop.fill(saved)
    if accelerator.is_main_process and loop.step:
        say(f"continuing from step {loop.step} of {loop.n_steps}")
    loop.run()
    model.cpu().eval()


def build_model(params: Params, goal: Goal, size: int) -> Model:
    """The pretrained backbone under untrained heads, in eval mode."""
    taps = {name: head.reads for name, head in goal.heads.items()}
    backbone = build_backbone(params.backbone, set(taps.values()), size)
    return Model(backbone, build_heads(goal.heads, backbone, goal.n_outputs), taps).eval()


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
    stages = scale_stages(model.backbone.stages(), strategy.unfreeze, strategy.layer_decay)
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


def _join(
    params: Params,
    strategy: FinetuneStrategy,
    goal: Goal,
    checkpoint: Checkpoint,
    accelerator: Accelerator,
    model: Model,
) -> Parts:
    scales = unfreeze(model, strategy)
    network = accelerator.prepare_model(Folded(model))
    targets = {head: values.to(accelerator.device) for head, values in goal.train.targets.items()}
    return Parts(
        accelerator=accelerator,
        network=network,
        parameters={name: parameter for name, parameter in model.named_parameters() if name in scales},
        scales=scales,
        losses=Losses(goal.objectives, goal.weights, targets, strategy.label_smoothing),
        images=_train_images(params, strategy, goal, accelerator),
        judge=Judge(accelerator, network, goal, strategy.batch),
        constants={f"{HEADS}.{name}": value for name, value in model.heads.named_buffers()},
        goal=goal,
        settings=strategy,
        seed=params.seed,
        every=params.train.checkpoint_steps,
        checkpoint=checkpoint if accelerator.is_main_process else None,
    )


def _train_images(params: Params, strategy: FinetuneStrategy, goal: Goal, accelerator: Accelerator) -> TrainImages:
    return TrainImages(
        store=goal.images,
        masks=goal.masks,
        ids=goal.train.ids,
        seed=params.seed,
        batch=strategy.batch,
        transform=None if goal.images.count else _transform(params),
        workers=params.train.workers,
        share=accelerator.process_index,
        shares=accelerator.num_processes,
        chances=goal.chances(strategy.sampling),
    )


def _transform(params: Params) -> Transform:
    from meltpoint.images.augment import build_transform  # albumentations takes seconds to import

    transform: Transform = build_transform(params.augment.transforms, params.images)
    return transform


def count_parameters(model: nn.Module, names: Mapping[str, float] | None = None) -> int:
    """How many numbers the parameters hold, all or those named."""
    return sum(value.numel() for name, value in model.named_parameters() if names is None or name in names)
