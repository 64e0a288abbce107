"""The contest: shown to lose less than the margin to the champion, on images that it did not learn from."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from meltpoint.files import read_json, write_json
from meltpoint.images.views import open_views
from meltpoint.model.card import read_card
from meltpoint.model.manifest import write_manifest
from meltpoint.registry import rescoring as contest
from meltpoint.registry.gate import Verdict
from meltpoint.registry.rescoring import judge, rescore
from meltpoint.tables import read_predictions
from meltpoint.tasks.classification.paired import Answers
from meltpoint.tasks.classification.registry import score_again
from meltpoint.tracking.run_metrics import read_scores


def outcome(house: Any, wrong_new: int, wrong_old: int, margin: float) -> bool:
    """Whether a challenger with so many mistakes in 1,000 passes a champion with others, none of them shared."""
    settings = house.params.compare.model_copy(update={"margin": margin})
    true = np.zeros(1000, np.int64)
    new, old = true.copy(), true.copy()
    new[:wrong_new], old[1000 - wrong_old :] = 1, 1
    answers = Answers(true, np.arange(1000), [new[None], old[None]], ["a", "b"])
    return judge(answers, "shape", "the champion", settings).verdict.passed


@pytest.mark.parametrize(
    ("wrong_new", "wrong_old", "margin", "passed"),
    [
        (0, 0, 0.0, False),
        (0, 0, 0.005, True),
        (100, 0, 0.05, False),
        (0, 100, 0.0, True),
        (30, 30, 0.005, False),
        (30, 30, 0.05, True),
    ],
)  # fmt: skip
def test_not_worse_by_more_than_the_margin_with_confidence(
    house: Any, wrong_new: int, wrong_old: int, margin: float, passed: bool
) -> None:
    assert outcome(house, wrong_new, wrong_old, margin) is passed


def test_nothing_labelled_is_not_enough(house: Any) -> None:
    empty = np.empty(0, np.int64)
    none = Answers(empty, empty, [empty[None]] * 2, ["a", "b"])
    assert not judge(none, "shape", "the champion", house.params.compare).verdict.passed


def test_few_images_that_the_champion_did_not_learn_from_are_not_judged(house: Any) -> None:
    true = np.zeros(49, np.int64)
    answers = Answers(true, np.arange(49), [true[None]] * 2, ["a", "b"])
    verdict = judge(answers, "shape", "the champion", house.params.compare, left_out=300).verdict
    assert not verdict.passed
    assert verdict.why == (
        "the champion was trained on 300 test images of today's, which are left out; 49 images or groups are left, and "
        "50 are the least to judge by"
    )
    assert judge(answers, "shape", "the champion", house.params.compare).verdict.passed


def against_finetune(house: Any) -> Verdict:
    champion = house.folder / "models" / "finetune"
    return rescore(house.state, "frozen", champion, "the champion", house.params.gate).verdict


def test_the_champion_is_scored_again_on_todays_images(house: Any) -> None:
    verdict = against_finetune(house)
    said = {name: read_scores(house.folder, name)["test/shape/accuracy"] for name in ("frozen", "finetune")}
    assert (
        f"{said['frozen']:.1%} accuracy on shape against the champion's {said['finetune']:.1%} on 18 test images"
        in verdict.why
    )


def test_what_the_champion_learnt_from_is_left_out(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if four of today's test images had been training images when the champion was made."""
    today = open_views(house.views).samples
    test = today[today["split"] == "test"]["sha256"]
    trained = pd.DataFrame({"sha256": test.iloc[:4], "split": "train", "group": pd.NA})
    monkeypatch.setattr(contest, "read_trained_on", lambda _: trained)
    monkeypatch.setattr(contest, "FEWEST", 5)
    left_out = 18 - len(set(test) - set(test.iloc[:4]))
    why = against_finetune(house).why
    assert f"on {18 - left_out} test images" in why
    assert f"the champion was trained on {left_out} test images of today's, which are left out" in why
    monkeypatch.setattr(contest, "FEWEST", 50)
    refused = against_finetune(house)
    assert not refused.passed
    assert "50 are the least to judge by" in refused.why


def test_a_champion_that_does_not_say_what_it_learnt_from(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of version 0.1: it is judged while the split is the one that it was trained with."""
    champion = house.folder / "models" / "finetune"
    monkeypatch.setattr(contest, "read_trained_on", lambda _: None)
    assert "on 18 test images" in against_finetune(house).why
    card = read_json(champion / "card.json")
    write_json(champion / "card.json", card | {"data": "0" * 64})
    write_manifest(champion)
    verdict = against_finetune(house)
    assert not verdict.passed
    assert "the champion does not say what it was trained on" in verdict.why


def test_the_best_of_many_is_held_to_more(house: Any) -> None:
    settings = house.params.compare.model_copy(update={"margin": 0.01})
    true = np.zeros(2000, np.int64)
    new, old = true.copy(), true.copy()
    new[:20], old[20:40] = 1, 1
    answers = Answers(true, np.arange(2000), [new[None], old[None]], ["a", "b"])
    assert judge(answers, "shape", "the champion", settings).verdict.passed
    found = judge(answers, "shape", "the champion", settings, among=12)
    assert found.verdict.passed == answers.measure("accuracy").shows(0, 1, 0.01, 0.05 / 12)
    assert "for the best of 12 that were compared" in found.verdict.why


@pytest.mark.parametrize("metric", ["log_loss", "quadratic_kappa"])
def test_a_margin_of_1_is_no_end_of_every_metric(house: Any, metric: str) -> None:
    settings = house.params.compare.model_copy(update={"margin": 1.0, "metric": metric})
    true = np.arange(500) % 2
    right = np.stack([1 - true, true], 1) * 0.98 + 0.01
    answers = Answers(true, np.arange(500), [1 - true[None], true[None]], ["a", "b"], [1 - right[None], right[None]])
    assert not judge(answers, "shape", "the champion", settings).verdict.passed


def test_another_geometry_is_scored_from_the_pictures(house: Any) -> None:
    house.edit(lambda raw: raw["views"]["s128"].update(interpolation="bicubic"))
    champion = contest.open_answerer(house.folder / "models" / "frozen")
    again = score_again(champion, house.folder, house.params.views, "accuracy", 16)
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
    house.edit(lambda raw: raw["views"]["s128"].update(interpolation=interpolation))
    champion = house.folder / "models" / "finetune"
    card = read_json(champion / "card.json")
    card["heads"]["shape"]["threshold"] = 0.0
    write_json(champion / "card.json", card)
    write_manifest(champion)
    verdict = against_finetune(house)
    assert "accuracy on shape against the champion's 50.0% on 18 test images" in verdict.why


def relabel(house: Any, monkeypatch: pytest.MonkeyPatch, head: str, classes: list[str]) -> None:
    """The champion knew other classes of a head."""
    real = contest.open_answerer

    class Old:
        def __init__(self, folder: Any) -> None:
            card = read_card(folder)
            old = card.heads[head].model_copy(update={"classes": classes})
            self.card = card.model_copy(update={"heads": card.heads | {head: old}})
            self.predict_images = real(folder).predict_images

    monkeypatch.setattr(contest, "open_answerer", Old)


@pytest.mark.parametrize("head", ["shape", "colour"])
def test_other_labels_are_refused(house: Any, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    relabel(house, monkeypatch, head, ["one", "two"])
    verdict = against_finetune(house)
    assert not verdict.passed
    assert f"{head} was ['one', 'two'] and is [" in verdict.why


def test_other_labels_pass_when_allowed(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.edit(lambda raw: raw["register"].update(new_labels=True))
    relabel(house, monkeypatch, "shape", ["one", "two"])
    verdict = against_finetune(house)
    assert verdict.passed
    assert "new_labels" in verdict.why
