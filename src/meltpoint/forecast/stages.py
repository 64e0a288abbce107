"""Seconds that each stage will take, from what it does how often and how long one such step takes here."""

from dataclasses import dataclass

from meltpoint.forecast.speeds import Speeds
from meltpoint.params.data import Images
from meltpoint.params.read import Params
from meltpoint.params.recipe import Recipe
from meltpoint.params.training import FinetuneStrategy

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
    cores = speeds.cores
    decode = load.images * speeds.decode / cores
    seconds = {
        "fingerprint": speeds.start / 4 + load.images * LOOKED,
        "download": speeds.start / 2 + 1.3 * decode,
        "split": speeds.start / 2 + decode + load.images * DETAIL + COMPARED * load.images**2,
    }
    for name, row in params.views.items():
        copies = load.train * row.copies * AUGMENT * row.side**2 / cores
        seconds[f"augment@{name}"] = speeds.start + decode + copies
    for name, encoder in params.encoders.items():
        shown = load.images + load.train * params.views[encoder.views].copies
        seconds[f"embed@{name}"] = speeds.start + shown * speeds.forward * _scale(params.views[encoder.views], speeds)
    recipes = {name: params.recipe(name) for name in params.strategies}
    forwards = {name: speeds.forward * _scale(recipe.views, speeds) for name, recipe in recipes.items()}
    for name, recipe in recipes.items():
        spent = _probe_seconds(recipe, params.embed.max_gb, load, speeds)
        if isinstance(recipe.settings, FinetuneStrategy):
            step = speeds.step * _scale(recipe.views, speeds)
            spent += recipe.settings.epochs * (load.train * step + load.val * forwards[name] * 1.5)
        seconds[f"train@{name}"] = speeds.start * 2.5 + (recipe.settings.repeats or 1) * spent
    for name, forward in forwards.items():
        seconds[f"evaluate@{name}"] = speeds.start * 1.3 + (load.val + load.test) * forward * 1.5 + PICTURES
    timed = (params.evaluate.latency_runs + 5) * cores + 6 * params.evaluate.batch * 2
    seconds["speed"] = speeds.start * 1.3 + timed * sum(forwards.values())
    seconds["compare"] = speeds.start / 2 + 2.0
    seconds["register"] = speeds.start + REGISTERED + load.test * max(forwards.values()) * 1.5
    return seconds


def _scale(views: Images, speeds: Speeds) -> float:
    """How many times as many pixels an image has as those that were timed."""
    return (views.side / speeds.side) ** 2


def _probe_seconds(recipe: Recipe, max_gb: float, load: Load, speeds: Speeds) -> float:
    """Heads on features: cached ones, or where these are too large, with the encoder running in each epoch."""
    probe, scale = recipe.settings.probe, _scale(recipe.views, speeds)
    decays, dense = len(probe.weight_decays), recipe.task.kind == "segmentation"
    each = decays * speeds.heads * scale if dense else decays * CACHED * len(recipe.heads)
    size = speeds.features * scale * (load.images + load.train * recipe.views.copies)
    again = speeds.forward * scale if dense and size > max_gb * 1e9 else 0.0
    return probe.epochs * (load.train * (each + again) + load.val * (each + again) / 2)


def in_words(seconds: float) -> str:
    """About how long: `20 s`, `4 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
