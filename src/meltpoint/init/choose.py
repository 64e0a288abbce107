"""The backbone, the image side and the strategies, from the images and the minutes: size before unfreezing."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.forecast.speeds import Speeds
from meltpoint.forecast.stages import Load, in_words, stage_seconds
from meltpoint.init.found import Found
from meltpoint.init.pictures import Pictures
from meltpoint.params.read import Params, parse_params

SIDES = (320, 288, 256, 224, 192, 160, 128, 96)
PRETRAINED = 224  # pixels that the packaged backbone was pretrained with
DISK = 0.25  # of the free disk that stored views may take
FULL, SHORT, NONE = 10, 5, 0  # epochs of fine-tuning


@dataclass(frozen=True)
class Plan:
    """One way to spend the time. `epochs` of fine-tuning; 0: none."""

    side: int
    copies: int
    epochs: int

    @property
    def words(self) -> str:
        """What it does."""
        views = f"{self.copies} augmented copies" if self.copies else "plain views"
        tuned = f", then fine-tuned for {self.epochs} epochs" if self.epochs else " alone"
        return f"{self.side} px, {views}, frozen{tuned}"


@dataclass(frozen=True)
class Choice:
    """The plan that was taken, its params and seconds by stage, and the next better one with its seconds in all."""

    plan: Plan
    params: Params
    raw: dict[str, Any]
    seconds: dict[str, float]
    fits: bool
    better: tuple[Plan, float] | None

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


Build = Callable[[Plan], dict[str, Any]]  # the whole of params.yaml that goes with a plan


def largest_side(pictures: Pictures, dense: bool) -> int:
    """The largest side worth its time: as large as the images are, about, and never far beyond the pretraining."""
    top = SIDES[1] if not dense else SIDES[0]
    own = max(SIDES[-1], pictures.short_side)
    return max(side for side in SIDES if side <= top and side <= own * 1.1)


def choose(
    found: Found, pictures: Pictures, ratios: Mapping[str, float], speeds: Speeds, minutes: float, build: Build
) -> Choice:
    """The best plan that fits into the minutes, or the shortest if none does."""
    dense = found.task == "segmentation"
    load = _load(found, pictures, dict(ratios))
    plans = [plan for plan in _ladder(largest_side(pictures, dense), dense) if _fits_disk(plan, load)]
    better: tuple[Plan, float] | None = None
    for plan in plans:
        raw = build(plan)
        params = parse_params(raw, "what init would write")
        seconds = stage_seconds(params, load, speeds)
        total = sum(seconds.values())
        if total <= 60 * minutes or plan == plans[-1]:
            return Choice(plan, params, raw, seconds, total <= 60 * minutes, better)
        better = (plan, total)
    raise AssertionError("the ladder has a last rung")


def _ladder(top: int, dense: bool) -> Iterator[Plan]:
    """Plans from the best to the quickest.

    Clothes, 3,781 photographs: frozen at 224 px gave 85.8% in 5 minutes, fine-tuned at 128 px 83.3% in 14: so a smaller
    side comes after all that can be done at the larger one.
    """
    sides = [side for side in SIDES if side <= top]
    many, few = (6, 2) if dense else (8, 4)
    whole = [side for side in sides if side >= min(top, PRETRAINED)]
    yield from (Plan(side, many, FULL) for side in whole)
    yield from (Plan(side, few, SHORT) for side in whole[-1:])
    yield Plan(whole[-1], many, NONE)
    for side in sides[len(whole) - 1 :]:
        yield from (Plan(side, copies, NONE) for copies in (few, 0))


def _load(found: Found, pictures: Pictures, ratios: dict[str, float]) -> Load:
    """The images that can be used, shared to the splits that the data bring, or by `ratios`."""
    splits = found.listing.files["split"]
    usable = 1 - len(pictures.unusable) / max(1, pictures.total)
    images = max(3, round(usable * len(splits)))
    counts = {name: round(usable * int((splits == name).sum())) for name in ("val", "test")}
    load = Load.shared(images, ratios)
    val, test = counts["val"] or load.val, counts["test"] or load.test
    return Load(images, max(1, images - val - test), val, test)


def _fits_disk(plan: Plan, load: Load) -> bool:
    needed = (load.images + load.train * plan.copies) * plan.side**2 * 3
    return plan.copies == 0 or needed <= DISK * shutil.disk_usage(Path()).free


def reason(choice: Choice, pictures: Pictures, minutes: float, dense: bool) -> list[str]:
    """Why this side and these strategies, in sentences."""
    top, plan = largest_side(pictures, dense), choice.plan
    limit = f"{pictures.short_side} px is the middle of their shorter sides"
    said = [
        f"{plan.side} px: "
        + (f"as large as pays, as {limit}" if plan.side == top else f"what the time allows; {limit}")
    ]
    if choice.better:
        other, seconds = choice.better
        said.append(f"with --minutes {_next_minutes(seconds)} it would be {other.words}")
    if not choice.fits:
        said.append(f"{minutes:g} minutes are too few even for this; about {in_words(choice.total)} are needed")
    return said


def _next_minutes(seconds: float) -> int:
    return -(-round(seconds) // 60)
