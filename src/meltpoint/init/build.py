"""The whole of params.yaml as a mapping: a preset with what was found put in its place."""

import copy
import re
from pathlib import Path
from typing import Any

from meltpoint.init.choose import Plan
from meltpoint.init.found import Found, InitError, label_name
from meltpoint.init.pictures import Pictures
from meltpoint.init.splits import Splits
from meltpoint.params.yaml12 import load

BASE = {"classification": Path("presets/elpv.yaml"), "segmentation": Path("presets/camvid.yaml")}
TOLERATED = 0.05  # share of unusable images that is written down as tolerated
UNEVEN = 0.8  # share of the largest class from which on plain accuracy says little


def build(found: Found, pictures: Pictures, splits: Splits, plan: Plan) -> dict[str, Any]:
    """params.yaml for a plan. Keys that no choice is about stay as the preset has them.

    Raises:
        InitError: there are no presets here.
    """
    raw = _base(found.task)
    raw["data"] = {
        **raw["data"],
        "source": found.source,
        "labels": found.labels,
        **({"group": found.group} if found.group else {}),
        **({"max_bad": bad} if (bad := tolerated(found, pictures)) else {}),
        "max_megapixels": max(100, -(-round(pictures.largest) // 50) * 50),
    }
    raw["split"] = {**raw["split"], "official": splits.official, "ratios": splits.ratios}
    if found.task == "classification":
        raw["split"]["duplicates"] = {"hash_distance": 64, "correlation": 0.8, "common": 0.005}
    row = f"s{plan.side}"
    raw["views"] = {row: _views(found, pictures, plan)}
    raw["encoders"] = {name: {**encoder, "views": row} for name, encoder in raw["encoders"].items()}
    raw["heads"] = _heads(found, raw["heads"])
    raw["task"] |= {"tree": {"levels": found.levels}} if found.levels else {}
    raw["strategies"] = _strategies(raw["strategies"], found, plan)
    raw["compare"]["metric"] = metric_of(found)
    raw["register"] = {
        **raw["register"],
        "name": label_name(found.name, "images"),
        **({"floors": floors} if (floors := floors_of(found)) else {}),
    }
    return raw


def tolerated(found: Found, pictures: Pictures) -> int:
    """How many unusable images params.yaml allows: those that were met and told, if they are few."""
    met = len(pictures.unusable) + len(found.listing.unusable)
    return met if met <= TOLERATED * (pictures.total + len(found.listing.unusable)) else 0


def metric_of(found: Found) -> str:
    """What decides: accuracy, unless one class has nearly all images; of masks mean IoU."""
    if found.task == "segmentation":
        return "miou"
    return "balanced_accuracy" if largest_share(found) >= UNEVEN else "accuracy"


def largest_share(found: Found) -> float:
    """The share of the main label's largest class: what always answering it would score."""
    counts = found.counts[found.main].values()
    return max(counts) / max(1, sum(counts))


def floors_of(found: Found) -> dict[str, float]:
    """What a champion has to reach: more than an answer that is always the same."""
    match metric_of(found):
        case "miou":
            return {}
        case "balanced_accuracy":
            return {f"{found.main}/balanced_accuracy": round(1 / len(found.classes[found.main]), 2)}
        case _:
            return {f"{found.main}/accuracy": round(largest_share(found), 2)}


def keeps_sides(found: Found) -> bool:
    """Whether a mirrored picture may be of another class: letters, digits, left and right."""
    names = [name.casefold() for names in found.classes.values() for name in names]
    sides = any(re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", name) for name in names)
    return sides or all(len(name) == 1 for name in found.classes[found.main])


def _base(task: str) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = load(BASE[task].read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InitError(
            f"There is no {BASE[task]} here, which a new params.yaml starts from. Run this in Meltpoint's own folder,"
            " where dvc.yaml and presets/ are; PATH may lie anywhere."
        ) from None
    return copy.deepcopy(raw)


def _transforms(found: Found, side: int) -> list[dict[str, Any]]:
    dense = found.task == "segmentation"
    crop = {"size": [side, side], "scale": [0.5 if dense else 0.6, 1.0], "ratio": [0.8, 1.25], "p": 0.8}
    flip: list[dict[str, Any]] = [] if keeps_sides(found) else [{"HorizontalFlip": {"p": 0.5}}]
    light = {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.7}
    return [*flip, {"RandomResizedCrop": crop}, {"RandomBrightnessContrast": light}]


def _views(found: Found, pictures: Pictures, plan: Plan) -> dict[str, Any]:
    views = {
        "side": plan.side,
        "resize": "letterbox" if pictures.aspect >= 1.8 else "squash",
        "interpolation": "bicubic" if pictures.short_side < plan.side else "area",
        "copies": plan.copies,
        "transforms": _transforms(found, plan.side),
    }
    return {key: value for key, value in views.items() if value}


def _heads(found: Found, base: dict[str, Any]) -> dict[str, Any]:
    template = {key: value for key, value in next(iter(base.values())).items() if key not in ("weight", "main")}
    heads: dict[str, Any] = {}
    for label in found.labels:
        balanced = label == found.main and metric_of(found) == "balanced_accuracy"
        main = {"main": True} if label == found.main and len(found.labels) > 1 else {}
        weights = {"class_weights": "balanced"} if balanced else {}
        heads[label] = {**template, "label": label, **main, **weights}
    return heads


def _strategies(base: dict[str, Any], found: Found, plan: Plan) -> dict[str, Any]:
    strategies = {name: copy.deepcopy(base[name]) for name in ("frozen", "finetune")}
    if found.task == "segmentation":
        strategies["frozen"]["probe"] |= {"epochs": 20, "weight_decays": [0.0]}
        strategies["finetune"]["probe"] |= {"epochs": 10}
    if not plan.epochs:
        del strategies["finetune"]
    else:
        batch = 32 if found.task == "classification" else 8
        strategies["finetune"] |= {"epochs": plan.epochs, "batch": batch}
    return strategies
