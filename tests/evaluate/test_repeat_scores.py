"""Repeats are told beside the first training: their rows, their seeds, and what each of them reaches."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from meltpoint.evaluate.repeat_scores import write_repeats
from meltpoint.params.judging import Evaluate
from meltpoint.tables import Classes, check_counts, check_predictions, write_predictions
from meltpoint.tasks.classification import metrics as classification
from meltpoint.tasks.segmentation import metrics as segmentation

CLASSES: Classes = {"defective": ["intact", "defective"], "severity": ["none", "some", "much"]}
SETTINGS = Evaluate(batch=8, calibration_bins=10, worst=4, latency_runs=1)
Made = list[tuple[Any, pd.DataFrame]]  # card and predictions of each repeat


@pytest.fixture(params=["classification", "segmentation"])
def made(request: pytest.FixtureRequest, predict: Any, cards: Any, scenes: Any) -> tuple[ModuleType, Made, Any]:
    """A task, three repeats of seeds 7 to 9, and the check of their tables."""
    if request.param == "classification":
        heads = cards(CLASSES)
        tables = [predict(0.2 * number - 0.1, number, images=40) for number in (1, 2, 3)]
        card = [SimpleNamespace(heads=heads, tree=None, seed=6 + number) for number in (1, 2, 3)]
        check: Any = partial(check_predictions, classes=CLASSES)
        return classification, list(zip(card, [check(table) for table in tables], strict=True)), check
    drawn = [scenes(images=5, errors=0.1 * number, seed=number) for number in (1, 2, 3)]
    card = [SimpleNamespace(heads=own.card.heads, seed=7 + number) for number, own in enumerate(drawn)]
    check = partial(check_counts, classes=drawn[0].card.classes)
    return segmentation, list(zip(card, [check(own.table) for own in drawn], strict=True)), check


def write(task: ModuleType, made: Made, folder: Path) -> Any:
    judge: Callable[..., Any] = partial(task.judge, settings=SETTINGS)
    (card, predictions), *others = made

    def give() -> Iterator[tuple[Any, pd.DataFrame]]:
        yield from others

    write_predictions(predictions, folder / "predictions.parquet")
    write_repeats(predictions, judge(predictions, card), card, give(), judge, folder)
    return json.loads((folder / "repeats.json").read_text())


def test_the_rows_of_each_repeat_are_there(tmp_path: Path, made: tuple[ModuleType, Made, Any]) -> None:
    task, repeats, check = made
    write(task, repeats, tmp_path)
    found, first = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("repeats", "predictions"))
    assert list(found) == ["repeat", *first]
    assert found["repeat"].dtype == "int64"
    assert list(found["repeat"].unique()) == [2, 3]
    for number, (_, table) in enumerate(repeats[1:], start=2):
        own = found[found["repeat"] == number].drop(columns="repeat")
        pd.testing.assert_frame_equal(check(own), table)


def test_a_strategy_trained_once_has_the_columns_and_no_rows(
    tmp_path: Path, made: tuple[ModuleType, Made, Any]
) -> None:
    task, repeats, check = made
    told = write(task, repeats[:1], tmp_path)
    found, first = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("repeats", "predictions"))
    assert found.empty
    assert found.drop(columns="repeat").dtypes.equals(first.dtypes)
    assert check(found.drop(columns="repeat")).empty
    assert (told["repeats"], told["seeds"]) == (1, [repeats[0][0].seed])
    assert all(
        len(values) == 1 for heads in told["scores"].values() for own in heads.values() for values in own.values()
    )


def test_scores_are_those_of_each_repeat(tmp_path: Path, made: tuple[ModuleType, Made, Any]) -> None:
    task, repeats, _ = made
    told = write(task, repeats, tmp_path)
    metrics = [task.judge(table, card, SETTINGS).metrics for card, table in repeats]
    assert (told["repeats"], told["seeds"]) == (3, [7, 8, 9])
    name = "accuracy" if task is classification else "miou"
    for split in ("val", "test"):
        assert list(told["scores"][split]) == list(metrics[0][split])
        for head, scores in told["scores"][split].items():
            assert scores == {score: [one[split][head][score] for one in metrics] for score in scores}
            assert len(set(scores[name])) > 1
            assert {"images", "absent_classes", "classes"}.isdisjoint(scores)


def test_a_score_that_one_repeat_lacks_is_left_out(tmp_path: Path, predict: Any, cards: Any) -> None:
    heads, tables = cards(CLASSES), [predict(0.1, number, images=20) for number in (1, 2)]
    tables[1]["defective.label"] = pd.array([pd.NA] * 40, dtype="string")
    made = [(SimpleNamespace(heads=heads, tree=None, seed=seed), table) for seed, table in enumerate(tables)]
    scores = write(classification, made, tmp_path)["scores"]["test"]
    assert "accuracy" not in scores["defective"]
    assert len(scores["severity"]["accuracy"]) == 2
