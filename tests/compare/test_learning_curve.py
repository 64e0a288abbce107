from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from meltpoint.compare.charts import WIDTH
from meltpoint.compare.intervals import Interval
from meltpoint.compare.learning_curve import find_curves, lesser, place_curves
from meltpoint.params.read import parse_params

PRESET = Path(__file__).parents[2] / "presets" / "elpv.yaml"
ROWS: dict[str, dict[str, Any]] = {
    "knn_1": {"kind": "knn", "k": [1, 5], "shots": 1},
    "knn_16": {"kind": "knn", "k": [1, 5], "shots": 16},
    "knn": {"kind": "knn", "k": [1, 5]},
    "knn_wide": {"kind": "knn", "k": [50]},
    "prototypes_4": {"kind": "prototypes", "shots": 4},
    "prototypes": {"kind": "prototypes"},
}
IMAGES = {"knn_1": 2, "knn_16": 32, "knn": 1500, "knn_wide": 1500, "prototypes_4": 8, "prototypes": 1500}


def row(name: str, images: int | None, score: float = 0.8) -> Any:
    cost = {} if images is None else {"labelled_images": images}
    return SimpleNamespace(name=name, cost=cost, test=score, interval=Interval(score - 0.05, score + 0.05))


@pytest.fixture(scope="module")
def recipes() -> Any:
    raw = yaml.safe_load(PRESET.read_text())
    raw["strategies"] = {name: {"encoder": "lite0", **own} for name, own in ROWS.items()}
    params = parse_params(raw, "test")
    return {name: params.recipe(name) for name in params.strategies}


def test_strategies_that_differ_in_shots_alone_make_a_curve(recipes: Any) -> None:
    curves = find_curves([row(name, IMAGES[name]) for name in reversed(ROWS)], recipes)
    assert {name: [one.name for one in own] for name, own in curves.items()} == {
        "knn": ["knn_1", "knn_16", "knn"],
        "prototypes": ["prototypes_4", "prototypes"],
    }
    assert lesser(curves) == {"knn_1", "knn_16", "prototypes_4"}, "they stand in their own picture alone"


def test_a_single_point_is_no_curve_nor_is_one_of_an_older_report(recipes: Any) -> None:
    assert not find_curves([row("knn", 1500), row("knn_wide", 1500), row("prototypes", 1500)], recipes)
    assert not find_curves([row("knn", None), row("knn_1", None)], recipes)
    assert not find_curves([row("knn", 2), row("knn_1", 2)], recipes), "the same images are one point"


def test_the_picture_holds_every_point_and_its_interval(recipes: Any) -> None:
    curves = find_curves([row(name, IMAGES[name], 0.5 + IMAGES[name] / 5000) for name in ROWS], recipes)
    placed = place_curves(curves, "accuracy")
    for spots in placed.lines.values():
        assert [spot.x for spot in spots] == sorted(spot.x for spot in spots)
        assert [spot.y for spot in spots] == sorted((spot.y for spot in spots), reverse=True)
        for spot in spots:
            assert placed.left <= spot.x <= WIDTH
            assert 0 <= spot.high < spot.y < spot.low <= placed.bottom
    first, last = placed.lines["knn"][0], placed.lines["prototypes"][-1]
    assert [tick.text for tick in placed.x_ticks] == ["2", "8", "32", "1,500"]
    assert first.text == "knn_1 50.0% with 2"
    assert last.text == "prototypes 80.0% with 1,500"
