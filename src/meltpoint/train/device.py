"""Where and in which precision training runs: what the machine has, unless params or the environment say otherwise."""

import os
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from meltpoint.errors import UserError
from meltpoint.params.training import Train

ON_CPU = "ACCELERATE_USE_CPU"  # environment variable of accelerate; `true` leaves the GPU alone


class DeviceError(UserError, ValueError):
    """What params.yaml asks of this machine it cannot do."""


def device_type() -> str:
    """cuda, mps ... where there is one, else cpu."""
    asked = os.environ.get(ON_CPU, "false").lower() in {"1", "true", "yes"}
    found = None if asked else torch.accelerator.current_accelerator(check_available=True)
    return found.type if found else "cpu"


def choose_precision(precision: Literal["auto", "fp32", "bf16"] | None, device: str) -> Literal["no", "bf16"]:
    """accelerate's word for the precision. `auto`, or None, is bf16 where the hardware computes it faster than fp32.

    Those are CUDA devices with bf16, and CPUs with AMX. With AVX-512 BF16 alone a training step was 5% slower than in
    fp32 (EfficientNet-Lite0, 128 px), and without either 8 to 14 times.
    """
    if precision in (None, "auto"):
        able = {
            "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
            "cpu": lambda: torch.cpu.get_capabilities().get("amx_bf16", False),
        }
        return "bf16" if device in able and able[device]() else "no"
    return "bf16" if precision == "bf16" else "no"


def build_accelerator(train: Train) -> Accelerator:
    """accelerate's Accelerator for this process, alone or one of several."""
    device = device_type()
    several = DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # gradients are held once, not twice
    return Accelerator(
        cpu=device == "cpu", mixed_precision=choose_precision(train.precision, device), kwargs_handlers=[several]
    )


def check_processes(train: Train, batch: int, n_images: int) -> None:
    """See that the batch and the machine can be shared out to `train.processes` of each machine.

    Raises:
        DeviceError: they cannot.
    """
    device, processes, nodes = device_type(), train.processes or 1, train.nodes or 1
    if min(batch, n_images) % (processes * nodes):
        machines = f" on {nodes} machines" if nodes > 1 else ""
        raise DeviceError(
            f"Batches of {min(batch, n_images)} images cannot be shared out evenly to train.processes {processes}"
            f"{machines}: each takes its part. Give a `batch` that is a multiple of {processes * nodes}, and no more"
            f" than all {n_images}."
        )
    available = 1 if device == "mps" else torch.cuda.device_count() if device == "cuda" else processes
    if processes > available and "TORCHELASTIC_RUN_ID" not in os.environ:  # which may span machines
        raise DeviceError(
            f"train.processes is {processes}, and this machine has {available} device(s) of the kind {device}; each"
            f" process takes one. Give at most {available}, or train on the CPU: {ON_CPU}=true dvc repro"
        )
