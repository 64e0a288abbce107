"""Size before unfreezing, within the minutes; the largest side that pays."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from meltpoint.data.listing import Listing, files_table
from meltpoint.forecast.speeds import USUAL, Speeds
from meltpoint.init.build import build
from meltpoint.init.choose import Choice, Plan, choose, largest_side
from meltpoint.init.found import CLASSIFICATION, Found
from meltpoint.init.pictures import Pictures
from meltpoint.init.splits import choose_splits

pytestmark = pytest.mark.usefixtures("place", "disk")  # where presets are
TWO_CORES = Speeds(start=6.0, decode=0.006, cores=2, device="cpu", busy=1.0, encoders=[USUAL])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room for everything, whatever this machine has."""
    usage = shutil.disk_usage(Path())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**12))


def found(count: int) -> Found:
    paths = [f"{number}.jpg" for number in range(count)]
    cells = pd.DataFrame({"clothes": [f"kind{number % 10}" for number in range(count)]}, dtype="string")
    listing = Listing("", files_table(paths, paths, [None] * count), pd.DataFrame({"class": cells["clothes"]}))
    labels = {"clothes": {"kind": "names", "column": "class", "classes": None}}
    names = {"clothes": sorted(set(cells["clothes"]))}
    return Found("", "clothes", {"kind": "folder", "path": "x"}, labels, "clothes", listing, cells, names)


def pictures(count: int, width: int, height: int) -> Pictures:
    return Pictures(count, count, 0.006, [width] * count, [height] * count, Counter(JPEG=count), grey=False)


def chosen(count: int, minutes: float, width: int = 400, height: int = 534, speeds: Speeds = TWO_CORES) -> Choice:
    data, seen = found(count), pictures(count, width, height)
    splits = choose_splits(data)
    return choose(data, seen, splits.ratios, speeds, minutes, lambda plan: build(data, seen, splits, plan))


@pytest.mark.parametrize(
    ("width", "height", "side"), [(400, 534, 288), (300, 300, 288), (226, 320, 224), (128, 128, 128), (28, 28, 96)]
)
def test_the_side_goes_by_the_images(width: int, height: int, side: int) -> None:
    assert largest_side(pictures(3, width, height), CLASSIFICATION) == side


def test_in_twenty_minutes_clothes_are_seen_large_and_frozen() -> None:
    choice = chosen(3781, 20)
    assert choice.plan == Plan(224, 8, 0)
    assert choice.fits
    assert choice.total <= 20 * 60
    assert list(choice.params.strategies) == ["frozen"]
    assert choice.better is not None


def test_more_minutes_fine_tune_at_the_same_side() -> None:
    choice = chosen(3781, 120)
    assert choice.plan.side >= 224
    assert choice.plan.epochs
    assert list(choice.params.strategies) == ["frozen", "finetune"]


def test_a_better_plan_costs_more_and_is_told() -> None:
    totals = [chosen(3781, minutes).total for minutes in (2, 6, 15, 30, 60, 120, 600)]
    assert totals == sorted(totals)
    choice = chosen(3781, 30)
    assert choice.better is not None
    assert choice.better[1] > 30 * 60


def test_too_few_minutes_give_the_quickest_and_say_so() -> None:
    choice = chosen(100_000, 1)
    assert not choice.fits
    assert choice.plan == Plan(96, 0, 0)


def test_small_images_are_fine_tuned_at_their_own_side() -> None:
    choice = chosen(3781, 30, 64, 64)
    assert (choice.plan.side, choice.plan.epochs) == (96, 10)


def test_views_that_the_disk_cannot_hold_are_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(Path())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000_000))
    assert chosen(3781, 6000).plan.copies == 0


def test_a_faster_machine_does_more() -> None:
    fast = replace(TWO_CORES, encoders=[replace(USUAL, forward=USUAL.forward / 50, step=USUAL.step / 50)])
    assert chosen(3781, 30, speeds=fast).plan == Plan(288, 8, 10)
