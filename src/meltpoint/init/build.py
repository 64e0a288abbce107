"""The whole of params.yaml as a mapping: a preset with what was found put in its place."""

import copy
import re
from typing import Any

import numpy as np

from meltpoint.init.choose import Plan
from meltpoint.init.found import Found, InitError, label_name
from meltpoint.init.pictures import Pictures
from meltpoint.init.splits import Splits
from meltpoint.params.yaml12 import load

TOLERATED = 0.05  # share of unusable images that is written down as tolerated
UNEVEN = 0.8  # share of the largest class from which on plain accuracy says little


def build(found: Found, pictures: Pictures, splits: Splits, plan: Plan) -> dict[str, Any]:
    """params.yaml for a plan. Keys that no choice is about stay as the preset has them.

    Raises:
        InitError: there are no presets here.
    """
    try:
        raw: dict[str, Any] = load(found.task.preset.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InitError(
            f"There is no {found.task.preset} here, which a new params.yaml starts from. Run this in Meltpoint's own"
            " folder, where dvc.yaml and presets/ are; PATH may be anywhere."
        ) from None
    bad, floors, row = tolerated(found, pictures), floors_of(found), f"s{plan.side}"
    raw["data"] = {
        "source": found.source,
        "labels": found.labels,
        **({"group": found.group} if found.group else {}),
        **({"max_bad": bad} if bad else {}),
        "max_megapixels": max(100, -(-round(pictures.largest) // 50) * 50),
    }
    raw["split"] |= {"official": splits.official, "ratios": splits.ratios, **found.task.split}
    views = {
        "side": plan.side,
        "resize": "letterbox" if pictures.aspect >= 1.8 else "squash",
        "interpolation": "bicubic" if pictures.short_side < plan.side else "area",
        "copies": plan.copies,
        "transforms": _transforms(found, plan.side),
    }
    raw["views"] = {row: {key: value for key, value in views.items() if value}}
    raw["encoders"] = {name: {**encoder, "views": row} for name, encoder in raw["encoders"].items()}
    template = {key: value for key, value in next(iter(raw["heads"].values())).items() if key not in ("weight", "main")}
    raw["heads"] = {label: {**template, "label": label} for label in found.labels}
    if len(found.labels) > 1:
        raw["heads"][found.main]["main"] = True
    if metric_of(found) == "balanced_accuracy":
        raw["heads"][found.main]["class_weights"] = "balanced"
    raw["task"] |= {"tree": {"levels": found.levels}} if found.levels else {}
    raw["strategies"] = _strategies(raw["strategies"], found, plan)
    raw["compare"]["metric"] = metric_of(found)
    raw["register"] = {"name": label_name(found.name, "images"), **({"floors": floors} if floors else {})}
    return raw


def tolerated(found: Found, pictures: Pictures) -> int:
    """How many unusable images params.yaml allows: those that were found and reported, if they are few."""
    bad = len(pictures.unusable) + len(found.listing.unusable)
    return bad if bad <= TOLERATED * (pictures.total + len(found.listing.unusable)) else 0


def metric_of(found: Found) -> str:
    """What decides: accuracy, unless one class has nearly all images; of tags micro F1, of masks mean IoU."""
    return found.task.metric or ("balanced_accuracy" if largest_share(found) >= UNEVEN else "accuracy")


def largest_share(found: Found) -> float:
    """The share of the main label's largest class: what always answering it would score."""
    counts = found.counts[found.main].values()
    return max(counts) / max(1, sum(counts))


def constant_f1(found: Found) -> float:
    """The micro F1 of the best answer that is always the same: the n most frequent tags for every image."""
    counts, images = sorted(found.counts[found.main].values(), reverse=True), len(found.cells)
    total, right = sum(counts), np.cumsum(counts)
    return float(np.max(2 * right / (images * np.arange(1, len(counts) + 1) + total)))


def floors_of(found: Found) -> dict[str, float]:
    """What a champion has to reach: more than an answer that is always the same."""
    match metric_of(found):
        case "accuracy":
            return {f"{found.main}/accuracy": round(largest_share(found), 2)}
        case "micro_f1":
            return {f"{found.main}/micro_f1": round(constant_f1(found), 2)}
        case "balanced_accuracy":
            return {f"{found.main}/balanced_accuracy": round(1 / len(found.classes[found.main]), 2)}
        case _:
            return {}


def keeps_sides(found: Found) -> bool:
    """Whether a mirrored picture may be of another class: letters, digits, left and right."""
    names = [name.casefold() for names in found.classes.values() for name in names]
    sides = any(re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", name) for name in names)
    return sides or all(len(name) == 1 for name in found.classes[found.main])


def _transforms(found: Found, side: int) -> list[dict[str, Any]]:
    crop = {"size": [side, side], "scale": [found.task.crop, 1.0], "ratio": [0.8, 1.25], "p": 0.8}
    flip: list[dict[str, Any]] = [] if keeps_sides(found) else [{"HorizontalFlip": {"p": 0.5}}]
    light = {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.7}
    return [*flip, {"RandomResizedCrop": crop}, {"RandomBrightnessContrast": light}]


def _strategies(base: dict[str, Any], found: Found, plan: Plan) -> dict[str, Any]:
    strategies = {name: copy.deepcopy(base[name]) for name in ("frozen", "finetune")}
    for name, probe in found.task.probes.items():
        strategies[name]["probe"] |= probe
    strategies["finetune"] |= {"epochs": plan.epochs, "batch": found.task.batch}
    return strategies if plan.epochs else {"frozen": strategies["frozen"]}
