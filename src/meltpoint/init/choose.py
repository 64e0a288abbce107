"""The image side and the strategies, from the images and the minutes: size before unfreezing."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.forecast.speeds import Speeds
from meltpoint.forecast.stages import Load, stage_seconds
from meltpoint.init.found import Found, TaskDefaults
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


def largest_side(pictures: Pictures, task: TaskDefaults) -> int:
    """The largest side worth its time: about as large as the images, and never much larger than in the pretraining."""
    own = max(SIDES[-1], pictures.short_side)
    return max(side for side in SIDES if side <= task.largest and side <= own * 1.1)


def choose(
    found: Found,
    pictures: Pictures,
    ratios: Mapping[str, float],
    speeds: Speeds,
    minutes: float,
    build: Callable[[Plan], dict[str, Any]],
) -> Choice:
    """The best plan that fits into the minutes, or the shortest if none does; `build` makes its params.yaml.

    Images that can be used count, divided into the splits that the data bring, or by `ratios`.
    """
    splits = found.listing.files["split"]
    usable = 1 - len(pictures.unusable) / max(1, pictures.total)
    images = max(3, round(usable * len(splits)))
    shared = Load.shared(images, ratios)
    val = round(usable * int((splits == "val").sum())) or shared.val
    test = round(usable * int((splits == "test").sum())) or shared.test
    load = Load(images, max(1, images - val - test), val, test)
    room = DISK * shutil.disk_usage(Path()).free
    plans = [
        plan
        for plan in _ladder(largest_side(pictures, found.task), *found.task.copies)
        if not plan.copies or (load.images + load.train * plan.copies) * plan.side**2 * 3 <= room
    ]
    better: tuple[Plan, float] | None = None
    for plan in plans:
        raw = build(plan)
        params = parse_params(raw, "what init would write")
        recipes = {name: params.recipe(name) for name in params.strategies}
        tables = params.split.duplicates.tables_of(load.images)
        seconds = stage_seconds(recipes, tables, params.embed.max_gb, params.evaluate, load, speeds)
        total = sum(seconds.values())
        if total <= 60 * minutes or plan == plans[-1]:
            return Choice(plan, params, raw, seconds, total <= 60 * minutes, better)
        better = (plan, total)
    raise AssertionError("the last plan stores no copies")


def _ladder(top: int, many: int, few: int) -> Iterator[Plan]:
    """Plans from the best to the quickest.

    Clothes, 3,781 photographs: frozen at 224 px gave 85.8% in 5 minutes, fine-tuned at 128 px 83.3% in 14: so a smaller
    side comes after all that can be done at the larger one.
    """
    sides = [side for side in SIDES if side <= top]
    whole = [side for side in sides if side >= min(top, PRETRAINED)]
    yield from (Plan(side, many, FULL) for side in whole)
    yield Plan(whole[-1], few, SHORT)
    yield Plan(whole[-1], many, NONE)
    for side in sides[len(whole) - 1 :]:
        yield from (Plan(side, copies, NONE) for copies in (few, 0))
