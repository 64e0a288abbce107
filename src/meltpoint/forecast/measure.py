"""Times encoders with random weights on this machine, for seconds: nothing is downloaded."""

import os
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from meltpoint.forecast.speeds import EncoderSpeed, Speeds, name_of
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.model import build_model
from meltpoint.params.model import RandomWeights
from meltpoint.params.recipe import Recipe
from meltpoint.progress import track
from meltpoint.train.fused_network import FusedNetwork

BATCH = {"forward": 8, "step": 2}
TRAINED = 0.85  # of the cores' power is what a training step reaches for each doubling of cores


def measure(recipes: Sequence[Recipe], outputs: Mapping[str, int], start: float, decode: float) -> Speeds:
    """Time forward and backward passes of the model of each recipe, at the side of its views.

    On a CPU one thread is timed by its processor seconds, which other programs hardly change, and shared by the cores.
    `outputs` are those of each head; `start` and `decode` are seconds that were measured elsewhere.

    Raises:
        BackboneError: there is no such backbone, or it does not take this side.
    """
    device, threads = inference_device(), torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        timed = [_measure_encoder(recipe, outputs, device) for recipe in recipes]
    finally:
        torch.set_num_threads(threads)
    return Speeds(
        start=start,
        decode=decode,
        cores=os.cpu_count() or 1,
        device=device.type,
        busy=max([1.0, *(busy for _, busy in timed)]),
        encoders=[speed for speed, _ in timed],
    )


def _measure_encoder(recipe: Recipe, outputs: Mapping[str, int], device: torch.device) -> tuple[EncoderSpeed, float]:
    """The speed of an encoder, and how many times longer it takes while other programs run."""
    side, encoder = recipe.views.side, recipe.encoder
    mean, std = encoder.mean or [0.5] * 3, encoder.std or [0.5] * 3
    plain = encoder.model_copy(update={"weights": RandomWeights(kind="random"), "mean": mean, "std": std})
    model = build_model(plain, recipe.heads, outputs, side).to(device)
    fused, frozen = FusedNetwork(model), fuse(model.backbone)
    images = {part: torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8) for part, count in BATCH.items()}
    with torch.no_grad():
        features = {key: value.clone() for key, value in model.features(images["step"].to(device)).items()}
    timings: dict[str, Callable[[], object]] = {
        "forward": lambda: infer(
            lambda part: frozen(model.backbone.prepare(part)), images["forward"].to(device), device
        ),
        "step": lambda: _backward(fused(images["step"].to(device))),
        "heads": lambda: _backward(model.outputs(features)),
    }
    timed = {name: _timed(run, device) for name, run in track(timings.items(), f"time {plain.name}", unit="part")}
    used = {name: seconds for name, (_, seconds) in timed.items()}
    specs, cores, on_cpu = model.backbone.specs, os.cpu_count() or 1, device.type == "cpu"
    shared, trained = (cores, cores**TRAINED) if on_cpu else (1, 1)
    speed = EncoderSpeed(
        encoder=name_of(encoder),
        side=side,
        forward=used["forward"] / BATCH["forward"] / shared,
        step=used["step"] / BATCH["step"] / trained,
        heads=used["heads"] / BATCH["step"] / trained,
        features=sum(value[0].numel() * (4 if specs[key].pooled else 2) for key, value in features.items()),
    )
    return speed, timed["forward"][0] / used["forward"]


def _backward(outputs: Mapping[str, torch.Tensor]) -> None:
    loss = torch.stack([output.float().square().mean() for output in outputs.values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]


def _timed(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds on the clock, and those that the processor or the accelerator was used: of the second of two runs."""
    for _ in range(2):
        start, used = time.perf_counter(), time.process_time()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        wall = time.perf_counter() - start
    return wall, time.process_time() - used if device.type == "cpu" else wall
