"""Repeats predict as their models do; a backbone that they share runs once over each image."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch

from meltpoint.model.backbones import Backbone
from meltpoint.model.card import Card, ModelError
from meltpoint.model.model import load_model, save_model
from meltpoint.model.repeat_delta import save_repeat, write_index
from meltpoint.predict import repeat_predictors
from meltpoint.tasks.answerer import open_answerer

if TYPE_CHECKING:
    from saved_models import Kit

    from meltpoint.images.views import Views

SIZE, SPLITS = 32, ("val", "test")
Made = tuple[Path, Path, "Views"]  # the first model, the others, and views


def shake(folder: Path, first: Path, others: Path, card: Card, part: str) -> None:
    """A repeat whose `part` has other weights than the first; `folder` gets it as a whole model."""
    model, _ = load_model(first)
    torch.manual_seed(card.seed)
    with torch.no_grad():
        for parameter in getattr(model, part).parameters():
            parameter.add_((parameter.std(unbiased=False) + 0.1) * torch.randn_like(parameter))
    save_model(model, card, folder)
    save_repeat(model, card, first, others)


@pytest.fixture(params=["plain", "scene"])
def made(request: pytest.FixtureRequest, tmp_path: Path, kit: "Kit") -> Callable[[str], Made]:
    """Three repeats, that differ from the first in some part; their whole models lie in whole-2 and the like."""
    card = getattr(kit, f"{request.param}_card")

    def make(part: str) -> Made:
        first, others = kit.save(card(key="first"), tmp_path / "first"), tmp_path / "others"
        for number in (2, 3, 4):
            own = card(key=f"k{number}", seed=number)
            shake(tmp_path / f"whole-{number}", first, others / str(number), own, part)
        write_index([0, 2, 3, 4], others)
        return first, others, kit.views(tmp_path, masked=request.param == "scene")

    return make


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each run of a backbone was given."""
    seen: list[int] = []
    real = Backbone.forward

    def forward(self: Backbone, images: Any) -> Any:
        seen.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Backbone, "forward", forward)
    return seen


def compare(found: list[tuple[Card, pd.DataFrame]], views: "Views", folder: Path, batch: int) -> None:
    assert [card.seed for card, _ in found] == [2, 3, 4]
    for number, (card, table) in enumerate(found, start=2):
        whole = open_answerer(folder / f"whole-{number}")
        assert card == whole.card
        pd.testing.assert_frame_equal(table, whole.predict_views(views, SPLITS, batch), check_exact=True)
    first = open_answerer(folder / "first").predict_views(views, SPLITS, batch)
    assert not all(table.equals(first) for _, table in found)


@pytest.mark.parametrize("part", ["heads", "backbone"])
def test_each_predicts_as_its_model_does(made: Callable[[str], Made], tmp_path: Path, part: str) -> None:
    first, others, views = made(part)
    compare(list(open_answerer(first).predict_repeats(others, views, SPLITS, 2)), views, tmp_path, 2)


@pytest.mark.parametrize(("part", "passes"), [("heads", 1), ("backbone", 3)])
def test_a_backbone_that_is_shared_runs_once(
    made: Callable[[str], Made], runs: list[int], monkeypatch: pytest.MonkeyPatch, part: str, passes: int
) -> None:
    first, others, views = made(part)
    predictor = open_answerer(first)
    monkeypatch.setattr(repeat_predictors, "fuse", lambda model: model)  # which runs backbones too, on noise
    runs.clear()
    list(predictor.predict_repeats(others, views, SPLITS, 2))
    assert sum(runs) == passes * 5


def test_what_does_not_fit_is_made_again(
    made: Callable[[str], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeat_predictors, "MOST", 3000)  # the features of some images
    first, others, views = made("heads")
    compare(list(open_answerer(first).predict_repeats(others, views, SPLITS, 2)), views, tmp_path, 2)


def test_nothing_is_done_before_it_is_asked_for(made: Callable[[str], Made], runs: list[int]) -> None:
    first, others, views = made("heads")
    predictor = open_answerer(first)
    runs.clear()
    predictor.predict_repeats(others, views, SPLITS, 2)
    assert runs == []


def test_a_missing_folder_is_told(made: Callable[[str], Made], tmp_path: Path) -> None:
    first, _, views = made("heads")
    with pytest.raises(ModelError, match=r"no .*repeats\.json.*dvc repro train@frozen"):
        next(open_answerer(first).predict_repeats(tmp_path / "frozen", views, SPLITS, 2))
