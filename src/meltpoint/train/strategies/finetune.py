"""Strategy `finetune`: from the heads that frozen features give, with the last stages of the backbone learning too."""

import torch

from meltpoint.model.model import Model
from meltpoint.params.strategies import FinetuneStrategy
from meltpoint.terminal import say
from meltpoint.train.device import check_processes
from meltpoint.train.job import Job, Outcome
from meltpoint.train.launch import launch
from meltpoint.train.loop import HEADS
from meltpoint.train.optimiser import scale_stages
from meltpoint.train.probe import probe
from meltpoint.train.tuning import fill_model, start_from, tune


def train(job: Job[FinetuneStrategy]) -> Outcome:
    """Fit the heads on frozen features, then train them with the last stages of the backbone."""
    settings, problem, checkpoint, machine = job.settings, job.problem, job.checkpoint, job.recipe.machine
    check_processes(machine, settings.batch, len(problem.train.ids))
    model, saved = job.build_model(), checkpoint.resume()
    if saved is None:
        probed = probe(job, model.backbone, None)
        say(f"Heads on frozen features: {problem.describe(probed.scores)} on val. Now the backbone learns too.")
        start_from(probed, checkpoint)
        saved = checkpoint.read()
    scales = unfreeze(model, settings)
    if not (saved and saved.facts["finished"]):
        if (machine.processes or 1) == 1:
            tune(job, model, scales)
        else:
            launch(job)
        saved = checkpoint.read()
    assert saved is not None
    fill_model(model, saved, "best")
    facts, best = saved.facts, saved.facts["best"]
    return Outcome(
        model=model,
        heads=problem.heads,
        trainable=sum(value.numel() for name, value in model.named_parameters() if name in scales),
        epochs=facts["epochs"],
        seconds=facts["seconds"],
        peak_megabytes=facts["peak_megabytes"],
        sentence=f"{problem.main} {problem.metric} {best['metric']:.3f} on val in epoch {best['epoch']}",
    )


def work(job: Job[FinetuneStrategy]) -> None:
    """The training in one of several processes."""
    model = job.build_model()
    tune(job, model, unfreeze(model, job.settings))


def unfreeze(model: Model, strategy: FinetuneStrategy) -> dict[str, float]:
    """Let the heads and the last stages learn, and nothing else; names of what learns, and rates relative to `lr`.

    What no gradient reaches, such as a stage after the last tap, stays frozen. Below the first parameter that learns
    no gradient is computed, and no activation kept.
    """
    stages = scale_stages(model.backbone.stages(), strategy.unfreeze, strategy.layer_decay or 1.0)
    slower = strategy.backbone_lr / strategy.lr
    scales = {f"backbone.{name}": slower * scale for name, scale in stages.items()}
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
