"""Times a backbone with random weights on this machine, for seconds: nothing is downloaded."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from meltpoint.forecast.speeds import Speeds
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.model import build_model
from meltpoint.params.model import Backbone, Head, RandomWeights
from meltpoint.progress import track
from meltpoint.train.fused_network import FusedNetwork

BATCH = {"forward": 8, "step": 2}
TRAINED = 0.85  # of the cores' power is what a training step reaches for each doubling of cores


def measure(
    backbone: Backbone, heads: Mapping[str, Head], outputs: Mapping[str, int], side: int, start: float, decode: float
) -> Speeds:
    """Time forward and backward passes of the model at `side` pixels.

    On a CPU one thread is timed by its processor seconds, which other programs hardly change, and shared by the cores.
    `outputs` are those of each head; `start` and `decode` are seconds that were measured elsewhere.

    Raises:
        BackboneError: there is no such backbone, or it does not take this side.
    """
    device = inference_device()
    plain = backbone.model_copy(
        update={
            "weights": RandomWeights(kind="random"),
            "mean": backbone.mean or [0.5] * 3,
            "std": backbone.std or [0.5] * 3,
        }
    )
    model = build_model(plain, heads, outputs, side).to(device)
    folded, frozen = FusedNetwork(model), fuse(model.backbone)
    images = {part: torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8) for part, count in BATCH.items()}
    with torch.no_grad():
        features = {key: value.clone() for key, value in model.features(images["step"].to(device)).items()}
    timings: dict[str, Callable[[], object]] = {
        "forward": lambda: infer(lambda part: frozen(model.prepare(part)), images["forward"].to(device), device),
        "step": lambda: _backward(folded(images["step"].to(device))),
        "heads": lambda: _backward(model.outputs(features)),
    }
    with _one_thread(device):
        timed = {name: _seconds(run, device) for name, run in track(timings.items(), f"time {plain.name}", unit="part")}
    specs, cores = model.backbone.specs, os.cpu_count() or 1
    on_cpu = device.type == "cpu"
    shared, trained = (cores, cores**TRAINED) if on_cpu else (1, 1)
    return Speeds(
        backbone=plain.name,
        side=side,
        start=start,
        decode=decode,
        forward=timed["forward"].used / BATCH["forward"] / shared,
        step=timed["step"].used / BATCH["step"] / trained,
        heads=timed["heads"].used / BATCH["step"] / trained,
        features=sum(value[0].numel() * (4 if specs[key].pooled else 2) for key, value in features.items()),
        cores=cores,
        device=device.type,
        busy=max(1.0, timed["forward"].wall / timed["forward"].used) if on_cpu else 1.0,
        measured=True,
    )


@dataclass(frozen=True)
class _Timed:
    """Seconds on the clock, and those that the processor or the accelerator was used."""

    wall: float
    used: float


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        if device.type == "cpu":
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)


def _backward(outputs: Mapping[str, torch.Tensor]) -> None:
    loss = torch.stack([output.float().square().mean() for output in outputs.values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]


def _seconds(run: Callable[[], object], device: torch.device) -> _Timed:
    """Once, after a run that does not count."""
    _timed(run, device)
    return _timed(run, device)


def _timed(run: Callable[[], object], device: torch.device) -> _Timed:
    start, used = time.perf_counter(), time.process_time()
    run()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    wall = time.perf_counter() - start
    return _Timed(wall, time.process_time() - used if device.type == "cpu" else wall)
