"""The gate: not worse than the champion on today's test images, above every floor, with the same labels."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from meltpoint.errors import UserError
from meltpoint.evaluate.paired.classification import Answers
from meltpoint.files import read_json, write_json
from meltpoint.model.card import read_card
from meltpoint.model.manifest import write_manifest
from meltpoint.registry import gate
from meltpoint.registry.gate import (
    GateError,
    check_age,
    check_ceilings,
    check_champion,
    check_floors,
    check_split,
    judge,
    score_again,
)
from meltpoint.registry.scores import read_scores
from meltpoint.tables import read_predictions

SCORES = {"test/shape/accuracy": 0.9, "val/shape/accuracy": 0.1, "test by class/shape circle f1": 0.2}


def test_every_floor_has_to_hold() -> None:
    assert check_floors(SCORES, {}).passed
    assert check_floors(SCORES, {"shape/accuracy": 0.9}).passed
    verdict = check_floors(SCORES, {"shape/accuracy": 0.95})
    assert not verdict.passed
    assert verdict.why == "shape/accuracy is 0.900 on test, below its floor 0.95"


def test_a_floor_of_nothing_is_told() -> None:
    with pytest.raises(GateError, match=r"'shape/acuracy'.*Measured are shape/accuracy\."):
        check_floors(SCORES, {"shape/acuracy": 0.5})


def test_every_ceiling_has_to_hold() -> None:
    costs = {"cost/latency_p95_ms": 12.5, "cost/megabytes": 14.0}
    assert check_ceilings(costs, {}).passed
    assert check_ceilings(costs, {"latency_p95_ms": 12.5, "megabytes": 20}).passed
    verdict = check_ceilings(costs, {"latency_p95_ms": 12, "megabytes": 13.5})
    assert not verdict.passed
    assert verdict.why == "latency_p95_ms is 12.5, above its ceiling 12; megabytes is 14, above its ceiling 13.5"


def test_a_ceiling_of_nothing_is_told(house: Any) -> None:
    with pytest.raises(GateError, match=r"'parameters'.*Measured are megabytes\. "):
        check_ceilings({"cost/megabytes": 1.0}, {"parameters": 5})
    house.edit(lambda raw: raw["register"].update(ceilings={"beauty": 1}))
    with pytest.raises(UserError, match=r"register\.ceilings\.beauty.*latency_p50_ms"):
        _ = house.params


def test_a_report_about_other_images_is_refused(house: Any) -> None:
    assert check_split(house.folder, "frozen").passed
    path = house.folder / "reports" / "strategies" / "frozen" / "predictions.parquet"
    table = pd.read_parquet(path)
    row = table.index[table["split"] == "test"][0]
    table.assign(split=table["split"].where(table.index != row, "val")).to_parquet(path)
    verdict = check_split(house.folder, "frozen")
    assert not verdict.passed
    assert "of today's 18 test images it lacks 1, and 0 of its own are not among them" in verdict.why
    table.assign(path=table["path"].where(table.index != row, "other.png")).to_parquet(path)
    assert "lacks 1, and 1 of its own are not among them" in check_split(house.folder, "frozen").why


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        ({"to": "3", "when": "2100-01-01T00:00:00+00:00"}, False),
        ({"to": "3", "when": "2020-01-01T00:00:00+00:00"}, True),
        ({"to": "2", "when": "2100-01-01T00:00:00+00:00"}, True),
        (None, True),
    ],
    ids=["older", "younger", "another version", "no ledger"],
)
def test_a_report_older_than_the_champion_is_refused(house: Any, line: dict[str, str] | None, passed: bool) -> None:
    verdict = check_age(house.folder, "frozen", "3", line)
    assert verdict.passed is passed
    assert ("is older than the champion, which is version 3 since 2100" in verdict.why) is not passed


def outcome(house: Any, wrong_new: int, wrong_old: int, margin: float) -> bool:
    """Whether a challenger with so many mistakes in 1,000 passes a champion with others, none of them shared."""
    settings = house.params.compare.model_copy(update={"margin": margin, "resamples": 500})
    true = np.zeros(1000, np.int64)
    new, old = true.copy(), true.copy()
    new[:wrong_new], old[1000 - wrong_old :] = 1, 1
    return judge(Answers(true, np.stack([new, old]), 2), "shape", settings, 0).passed


@pytest.mark.parametrize(
    ("wrong_new", "wrong_old", "margin", "passed"),
    [(0, 0, 0.0, True), (100, 0, 0.05, False), (0, 100, 0.0, True), (30, 30, 0.005, False), (30, 30, 0.05, True)],
)
def test_not_worse_by_more_than_the_margin_with_confidence(
    house: Any, wrong_new: int, wrong_old: int, margin: float, passed: bool
) -> None:
    assert outcome(house, wrong_new, wrong_old, margin) is passed


def test_nothing_labelled_is_not_enough(house: Any) -> None:
    none = Answers(np.empty(0, np.int64), np.empty((2, 0), np.int64), 2)
    assert not judge(none, "shape", house.params.compare, 0).passed


def test_the_champion_is_scored_again_on_todays_images(house: Any) -> None:
    verdict = check_champion(house.folder, "frozen", house.folder / "models" / "finetune", house.params)
    said = {name: read_scores(house.folder, name)["test/shape/accuracy"] for name in ("frozen", "finetune")}
    assert f"{said['frozen']:.1%} accuracy on shape against the champion's {said['finetune']:.1%} on 18" in verdict.why


def test_another_geometry_is_scored_from_the_pictures(house: Any) -> None:
    house.edit(lambda raw: raw["images"].update(interpolation="bicubic"))
    champion = gate.open_predictor(house.folder / "models" / "frozen")
    again = score_again(champion, house.folder, house.params)
    before = read_predictions(
        house.folder / "reports" / "strategies" / "frozen" / "predictions.parquet", champion.card.classes
    )
    test = before[before["split"] == "test"].reset_index(drop=True)
    assert again["id"].tolist() == test["id"].tolist()
    assert list(again) == ["id", "group", "shape.answer", "colour.answer"]
    assert again["group"].tolist() == test["group"].tolist()
    pd.testing.assert_series_equal(again["shape.answer"], test["shape.answer"])


@pytest.mark.parametrize("interpolation", ["area", "bicubic"])
def test_the_champion_answers_by_its_own_threshold(house: Any, interpolation: str) -> None:
    """Everything is a square from a probability of 0 on, and half of the test images are squares."""
    house.edit(lambda raw: raw["images"].update(interpolation=interpolation))
    champion = house.folder / "models" / "finetune"
    card = read_json(champion / "card.json")
    card["heads"]["shape"]["threshold"] = 0.0
    write_json(champion / "card.json", card)
    write_manifest(champion)
    verdict = check_champion(house.folder, "frozen", champion, house.params)
    assert "accuracy on shape against the champion's 50.0% on 18" in verdict.why


def relabel(house: Any, monkeypatch: pytest.MonkeyPatch, head: str, classes: list[str]) -> None:
    """The champion knew other classes of a head."""
    real = gate.open_predictor

    class Old:
        def __init__(self, folder: Any) -> None:
            card = read_card(folder)
            old = card.heads[head].model_copy(update={"classes": classes})
            self.card = card.model_copy(update={"heads": card.heads | {head: old}})
            self.predict_images = real(folder).predict_images

    monkeypatch.setattr(gate, "open_predictor", Old)


@pytest.mark.parametrize("head", ["shape", "colour"])
def test_other_labels_are_refused(house: Any, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    relabel(house, monkeypatch, head, ["one", "two"])
    verdict = check_champion(house.folder, "frozen", house.folder / "models" / "finetune", house.params)
    assert not verdict.passed
    assert f"{head} was ['one', 'two'] and is [" in verdict.why


def test_other_labels_pass_when_allowed(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.edit(lambda raw: raw["register"].update(new_labels=True))
    relabel(house, monkeypatch, "shape", ["one", "two"])
    verdict = check_champion(house.folder, "frozen", house.folder / "models" / "finetune", house.params)
    assert verdict.passed
    assert "new_labels" in verdict.why
