"""Masks are compared image by image; the page and the text show mean IoU and the IoU of each class."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from judged import SCENE, Reports, make_recipes

from meltpoint.compare.decision import compare
from meltpoint.compare.decision_files import record_of, write_decision
from meltpoint.compare.results import Results, ResultsError, read_results
from meltpoint.params.judging import Compare
from meltpoint.tables import pixel_column
from meltpoint.tasks.segmentation import paired
from meltpoint.tasks.segmentation.metrics import judge_heads
from meltpoint.tasks.segmentation.paired import pair


@pytest.fixture
def settings() -> Compare:
    return Compare(metric="miou", margin=0.01, confidence=0.95, cost="train_seconds")


def add(reports: Path, name: str, made: Any, seconds: float) -> None:
    Reports(reports, SCENE).write(name, made.table, judge_heads(made.table, made.card.heads), "overlays.png", seconds)


def read(reports: Path, *names: str) -> Results:
    return read_results(reports, make_recipes(names, SCENE, "miou"), reports.parent / "classes.json", paired)


@pytest.fixture
def results(tmp_path: Path, scenes: Any) -> Results:
    for name, errors, seed, seconds in (("frozen", 0.4, 1, 5.0), ("finetune", 0.1, 2, 90.0)):
        add(tmp_path / "reports", name, scenes(images=20, errors=errors, seed=seed), seconds)
    return read(tmp_path / "reports", "frozen", "finetune")


def test_the_scores_are_those_of_the_evaluation(results: Results, settings: Compare) -> None:
    for metric in ("miou", "dice", "pixel_accuracy"):
        found = results.answers["test"]["scene"].measure(metric)
        told = [results.metrics[name]["test"]["scene"][metric] for name in results.strategies]
        assert found.scores == pytest.approx(told, abs=1e-6)
        assert found.images == 20


def test_the_better_masks_are_shipped(results: Results, settings: Compare, tmp_path: Path) -> None:
    decision = compare(results, settings)
    assert (decision.winner, decision.verdict) == ("finetune", "ship")
    assert re.match(r"Ship finetune: \d\d\.\d% mean IoU on scene against \d\d\.\d% for frozen", decision.sentence)
    pairs = record_of(decision).pairs
    for found in pairs:
        assert found.interval[0] < found.difference < found.interval[1]
        assert found.p_value < 0.05
    write_decision(decision, tmp_path)
    text, page = ((tmp_path / f"compare.{kind}").read_text() for kind in ("md", "html"))
    iou = results.metrics["finetune"]["test"]["scene"]["classes"]["person"]["iou"]
    assert re.search(rf"^\| person +\| +\d+\.\d% +\| +{iou:.1%} +\|$", text, flags=re.M)
    assert "IoU of each class of scene, on test:" in text
    assert f"<td>{iou:.1%}</td>" in page
    assert ">pixels</th>" in page
    assert "Masks on scene</h2>" in page
    assert "Can the confidence be trusted?" not in page, "masks have no stored probabilities"


def test_images_without_a_labelled_pixel_are_left_out(scenes: Any) -> None:
    table = scenes(images=6).table.copy()
    names = ["sky", "road", "car", "person"]
    table.loc[3, [pixel_column("scene", count, name) for count in ("tp", "fp", "fn") for name in names]] = 0
    assert [own.shape for own in pair([[table], [table]], "scene", names).pixels] == [(1, 3, 11, 4)] * 2


def test_other_masks_are_refused(tmp_path: Path, scenes: Any) -> None:
    reports, made = tmp_path / "reports", scenes(images=3)
    add(reports, "first", made, 1.0)
    made.table[pixel_column("scene", "fn", "car")] += 1
    add(reports, "second", made, 1.0)
    with pytest.raises(ResultsError, match=r"other labels, in scene\.car"):
        read(reports, "first", "second")
    made.table = pd.DataFrame(made.table.iloc[1:])
    add(reports, "third", made, 1.0)
    with pytest.raises(ResultsError, match="'third' was evaluated on other images"):
        read(reports, "first", "third")
