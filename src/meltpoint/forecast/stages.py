"""Seconds that each stage will take, from what it does how often and how long one such step takes here."""

from dataclasses import dataclass

from meltpoint.forecast.speeds import Speeds
from meltpoint.params.read import Params
from meltpoint.params.training import FinetuneStrategy, Probe

AUGMENT = 8e-8  # seconds of one thread for a pixel of an augmented view
COMPARED = 6e-8  # of all cores for a pair of pictures that may be duplicates
DETAIL = 1.5e-3  # of all cores for the fine detail of a picture
CACHED = 2e-5  # of an epoch, for an image of a plain head on features in memory and each weight decay
LOOKED = 1e-5  # for the name, size and time of a file
PICTURES = 15.0  # of the drawings that a strategy's report has
REGISTERED = 30.0  # of MLflow's tables, pictures and model packages


@dataclass(frozen=True)
class Load:
    """What there is to do: images in all, of training, of val and of test."""

    images: int
    train: int
    val: int
    test: int

    @classmethod
    def shared(cls, images: int, ratios: dict[str, float]) -> "Load":
        """So many images parted by shares."""
        val, test = round(images * ratios["val"]), round(images * ratios["test"])
        return cls(images, images - val - test, val, test)


def stage_seconds(params: Params, load: Load, speeds: Speeds) -> dict[str, float]:
    """By stage as DVC calls it, `train@NAME` of each strategy; what an accelerator does not do is shared by cores."""
    cores, views = speeds.cores, params.augment.views
    scale = (params.images.side / speeds.side) ** 2
    forward, step = speeds.forward * scale, speeds.step * scale
    decode = load.images * speeds.decode / cores
    shown = load.images + load.train * views
    seconds = {
        "fingerprint": speeds.start / 4 + load.images * LOOKED,
        "download": speeds.start / 2 + 1.3 * decode,
        "split": speeds.start / 2 + decode + load.images * DETAIL + COMPARED * load.images**2,
        "augment": speeds.start + decode + load.train * views * AUGMENT * params.images.side**2 / cores,
        "embed": speeds.start + shown * forward,
    }
    for name, strategy in params.strategies.items():
        spent = _probe_seconds(params, strategy.probe, load, speeds, forward)
        if isinstance(strategy, FinetuneStrategy):
            spent += strategy.epochs * (load.train * step + load.val * forward * 1.5)
        seconds[f"train@{name}"] = speeds.start * 2.5 + strategy.repeats * spent
    looked = load.val + load.test
    timed = (params.evaluate.latency_runs + 5) * forward * cores + 6 * params.evaluate.batch * forward * 2
    for name in params.strategies:
        seconds[f"evaluate@{name}"] = speeds.start * 1.3 + looked * forward * 1.5 + PICTURES
    seconds["speed"] = speeds.start * 1.3 + len(params.strategies) * timed
    seconds["compare"] = speeds.start / 2 + 2.0
    seconds["register"] = speeds.start + REGISTERED + load.test * forward * 1.5
    return seconds


def _probe_seconds(params: Params, probe: Probe, load: Load, speeds: Speeds, forward: float) -> float:
    """Heads on features: cached ones, or where these are too large, with the backbone running in each epoch."""
    decays, scale = len(probe.weight_decays), (params.images.side / speeds.side) ** 2
    dense = params.task.kind == "segmentation"
    each = decays * speeds.heads * scale if dense else decays * CACHED * len(params.heads)
    size = speeds.features * scale * (load.images + load.train * params.augment.views)
    again = forward if dense and size > params.embed.max_gb * 1e9 else 0.0
    return probe.epochs * (load.train * (each + again) + load.val * (each + again) / 2)


def in_words(seconds: float) -> str:
    """About how long: `20 s`, `4 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
