"""A model trained from its images by the loop, from fitted heads on: for strategies that change the backbone."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from meltpoint.model.model import Model
from meltpoint.params.strategies import TunedStrategy
from meltpoint.terminal import say
from meltpoint.train.checkpoint import Checkpoint, Saved
from meltpoint.train.device import build_accelerator, check_processes
from meltpoint.train.job import Job, Outcome
from meltpoint.train.launch import launch, write_job
from meltpoint.train.loop import HEADS, Loop
from meltpoint.train.probe import Fitted, probe
from meltpoint.train.torchrun import is_inside, work_together

Prepare = Callable[[Job[Any], Model], dict[str, float]]  # lets parameters learn; their names, rates relative to `lr`


def fit_tuned(job: Job[Any], prepare: Prepare) -> Outcome:
    """Fit the heads on frozen features, then train them together with what `prepare` lets learn.

    The strategy's `work` is called where there are several processes.
    """
    settings: TunedStrategy = job.settings
    problem, checkpoint, machine = job.problem, job.checkpoint, job.recipe.machine
    check_processes(machine, settings.batch, len(problem.train.ids))
    model, saved = job.build_model(), checkpoint.resume()
    if saved is None:
        probed = probe(job, model.backbone, None)
        say(f"Heads on frozen features: {problem.describe(probed.scores)} on val. Now the backbone learns too.")
        start_from(probed, checkpoint)
        saved = checkpoint.read()
    scales = prepare(job, model)
    if not (saved and saved.facts["finished"]):
        if (machine.processes or 1) * (machine.nodes or 1) == 1:
            tune(job, model, scales)
        elif is_inside():
            work_together(write_job(job))
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


def let_learn(model: Model, names: Iterable[str]) -> set[str]:
    """Let these parameters of the backbone and all heads learn, and nothing else; the names of those that do.

    What no gradient reaches, such as a stage after the last tap, stays frozen. Below the first parameter that learns
    no gradient is computed, and no activation kept.
    """
    learning = {*names, *(f"{HEADS}.{name}" for name, _ in model.heads.named_parameters())}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)
    parameters = {name: value for name, value in model.named_parameters() if name in learning}
    images = torch.zeros((1, model.backbone.size, model.backbone.size, 3), dtype=torch.uint8)
    total = torch.stack([output.sum() for output in model(images).values()]).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)
            learning.remove(name)
    return learning


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
    torch.backends.cudnn.deterministic = True  # a continued training ends with the same weights
    saved = job.checkpoint.read()
    assert saved is not None, "start_from comes first"
    fill_model(model, saved, "weights")
    Loop(job, model, scales, build_accelerator(job.recipe.machine), saved).run()
    model.cpu().eval()


def fill_model(model: Model, saved: Saved, part: str) -> None:
    """Give a model the weights that stand under `part` in a checkpoint, and the constants."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in {**saved.part("constants"), **saved.part(part)}.items():
            own[name].copy_(value)
