"""Seconds that each stage will take, from what it does how often and how long one such step takes here."""

from collections.abc import Mapping
from dataclasses import dataclass

from meltpoint.duplicate import compare_seconds
from meltpoint.forecast.speeds import Speeds
from meltpoint.params.exports import Export
from meltpoint.params.judging import Evaluate
from meltpoint.params.recipe import Recipe

AUGMENT = 8e-8  # seconds of one thread for a pixel of an augmented view
DETAIL = 1.5e-3  # of all cores for the fine detail of a picture
CACHED = 2e-5  # of an epoch, for an image of a plain head on features in memory and each weight decay
LOOKED = 1e-5  # for the name, size and time of a file
PICTURES = 15.0  # of the drawings that a strategy's report has
ROUNDED = 4.0  # a training step with the rounding of 8 bits, as a multiple of a plain one
REGISTERED = 30.0  # of MLflow's tables, pictures and model packages


@dataclass(frozen=True)
class Load:
    """How many images there are in all, in train, in val and in test."""

    images: int
    train: int
    val: int
    test: int

    @classmethod
    def shared(cls, images: int, ratios: Mapping[str, float]) -> "Load":
        """So many images, divided by shares."""
        val, test = round(images * ratios["val"]), round(images * ratios["test"])
        return cls(images, images - val - test, val, test)


def stage_seconds(
    recipes: Mapping[str, Recipe],
    tables: int | None,
    max_gb: float,
    evaluate: Evaluate,
    load: Load,
    speeds: Speeds,
) -> dict[str, float]:
    """By stage as DVC calls it, `train@NAME` of each strategy; what an accelerator does not do is shared by cores.

    Each encoder has its own speed at the size of its own views. `tables`: of the search for duplicates; None: it
    compares all with all. `max_gb`: features that are larger are not stored.
    """
    cores = speeds.cores
    decode = load.images * speeds.decode / cores
    seconds = {
        "fingerprint": speeds.start / 4 + load.images * LOOKED,
        "download": speeds.start / 2 + 1.3 * decode,
        "split": speeds.start / 2 + decode + load.images * DETAIL + compare_seconds(load.images, tables),
    }
    for recipe in recipes.values():
        copies = load.train * recipe.views.copies * AUGMENT * recipe.views.side**2 / cores
        seconds[f"augment@{recipe.encoder.views}"] = speeds.start + decode + copies
    timed = {name: speeds.of(recipe.encoder, recipe.views.side) for name, recipe in recipes.items()}
    for name, recipe in recipes.items():
        shown = load.images + load.train * recipe.views.copies
        seconds[f"embed@{recipe.settings.encoder}"] = speeds.start + shown * timed[name].forward
    for name, recipe in recipes.items():
        speed, settings = timed[name], recipe.settings
        each = settings.probe_heads * (speed.heads if recipe.task.dense else CACHED * len(recipe.heads))
        size = speed.features * (load.images + load.train * recipe.views.copies)
        if recipe.task.dense and size > max_gb * 1e9:  # features are not stored, and the encoder runs in each epoch
            each += speed.forward
        spent = settings.probe_epochs * (load.train * each + load.val * each / 2)
        spent += settings.unfrozen_epochs * (load.train * speed.step + load.val * speed.forward * 1.5)
        seconds[f"train@{name}"] = speeds.start * 2.5 + (settings.repeats or 1) * spent
    forwards = {name: speed.forward for name, speed in timed.items()}
    for name, forward in forwards.items():
        seconds[f"evaluate@{name}"] = speeds.start * 1.3 + (load.val + load.test) * forward * 1.5 + PICTURES
    passes = (2 * evaluate.latency_runs + 5) * cores + 6 * evaluate.batch * 2
    seconds["speed"] = speeds.start * 1.3 + passes * sum(forwards.values())
    seconds["compare"] = speeds.start / 2 + 2.0
    seconds["register"] = speeds.start + REGISTERED + load.test * max(forwards.values()) * 1.5
    return seconds


def export_seconds(
    exports: Mapping[str, Export], recipes: Mapping[str, Recipe], evaluate: Evaluate, load: Load, speeds: Speeds
) -> dict[str, float]:
    """By stage, `export@FORMAT` and `offer`: which strategy wins is not known, so the slowest one counts."""
    timed = [speeds.of(recipe.encoder, recipe.views.side) for recipe in recipes.values()]
    forward, step = max(one.forward for one in timed), max(one.step for one in timed)
    seconds, judged = {}, load.val + load.test
    for name, own in exports.items():
        seen, trained = own.looks(load.train)
        seconds[f"export@{name}"] = speeds.start * 1.5 + own.seconds + seen * forward + ROUNDED * trained * step
    passes = 2 * judged + (2 * evaluate.latency_runs + 5) * speeds.cores + 6 * evaluate.batch
    decoded = 2 * judged * speeds.decode / speeds.cores * sum(own.resize for own in exports.values())
    seconds["offer"] = speeds.start * 1.3 + ((1 + len(exports)) * passes * forward + decoded if exports else 0.0)
    return seconds


def in_words(seconds: float) -> str:
    """About how long: `20 s`, `4 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
