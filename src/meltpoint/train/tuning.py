"""A model trained from its images by the loop, from fitted heads on: for strategies that change the backbone."""

from collections.abc import Mapping
from typing import Any

import torch

from meltpoint.model.model import Model
from meltpoint.train.checkpoint import Checkpoint, Saved
from meltpoint.train.device import build_accelerator
from meltpoint.train.job import Job
from meltpoint.train.loop import HEADS, Loop
from meltpoint.train.probe import Fitted


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
