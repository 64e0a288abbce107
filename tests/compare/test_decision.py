from typing import Any

import pandas as pd
import pytest

from meltpoint.compare.decision import CompareError, Pair, compare
from meltpoint.params.judging import Compare
from meltpoint.tables import label_column


def test_the_better_one_is_shipped(reports: Any, settings: Compare) -> None:
    results = reports.results(images=400, frozen=(0.25, 1.0), finetune=(0.05, 100.0))
    decision = compare(results, settings)
    assert (decision.best, decision.winner, decision.verdict) == ("finetune", "finetune", "ship")
    assert decision.images == {"val": 400, "test": 400}
    assert [(pair.a, pair.b, pair.split) for pair in decision.pairs] == [
        ("finetune", "frozen", "val"),
        ("finetune", "frozen", "test"),
    ]
    for row in decision.rows:
        for split in ("val", "test"):
            for head, interval in row.intervals[split].items():
                assert interval.low < row.metrics[split][head]["accuracy"] < interval.high


def test_equals_ship_the_cheapest(reports: Any, predict: Any, settings: Compare) -> None:
    for name, seconds in (("dear", 50.0), ("cheap", 1.0), ("middle", 9.0)):
        reports.add(name, predict(0.2, 1, 500), seconds)
    decision = compare(reports.read("dear", "cheap", "middle"), settings)
    assert (decision.winner, decision.verdict) == ("cheap", "ship")
    assert all(pair.difference is not None for pair in decision.pairs)
    assert all(pair.difference.value == 0 and pair.p_holm == 1 for pair in decision.pairs)


def test_a_small_test_is_not_enough(reports: Any, settings: Compare) -> None:
    decision = compare(reports.results(images=60, cheap=(0.15, 1.0), dear=(0.02, 9.0), poor=(0.5, 2.0)), settings)
    assert (decision.best, decision.winner, decision.verdict) == ("dear", "dear", "not_enough_evidence")
    assert decision.ruling.needed
    assert decision.ruling.standings["poor"] == "worse"


def test_p_values_are_adjusted_for_the_rivals_of_a_split(reports: Any, settings: Compare) -> None:
    decision = compare(reports.results(a=(0.1, 1.0), b=(0.12, 2.0), c=(0.14, 3.0)), settings)
    for split in ("val", "test"):
        pairs: list[Pair] = [pair for pair in decision.pairs if pair.split == split]
        smallest = min(pairs, key=lambda pair: pair.difference.p_value)
        assert len(pairs) == 2
        assert smallest.p_holm == pytest.approx(min(1, 2 * smallest.difference.p_value))


def test_an_area_over_images_of_one_class_is_told(reports: Any, predict: Any, settings: Compare) -> None:
    table = predict(0.1, 1)
    other = table["split"].eq("test") & table[label_column("defective")].eq("defective")
    table.loc[other, label_column("defective")] = pd.NA
    reports.add("only", table)
    with pytest.raises(
        CompareError, match="ROC AUC of the main head 'defective' is not known on test.*one class alone"
    ):
        compare(reports.read("only", metric="roc_auc"), settings.model_copy(update={"metric": "roc_auc"}))


def test_without_labels_of_the_main_head_nothing_is_decided(reports: Any, predict: Any, settings: Compare) -> None:
    table = predict(0.1, 1)
    table.loc[table["split"] == "test", label_column("defective")] = pd.NA
    reports.add("only", table)
    with pytest.raises(CompareError, match="No image of test has a label for the main head 'defective'"):
        compare(reports.read("only"), settings)


def test_another_head_may_lack_labels(reports: Any, predict: Any, settings: Compare) -> None:
    table = predict(0.1, 1)
    table[label_column("severity")] = pd.array([pd.NA] * len(table), dtype="string")
    reports.add("only", table)
    assert list(compare(reports.read("only"), settings).rows[0].intervals["test"]) == ["defective"]


def test_repeats_are_about_the_recipe(reports: Any, predict: Any, settings: Compare) -> None:
    """Seeds that differ widen the interval, and the score is their mean."""
    alike = [predict(0.1, 1, 400)] * 2
    reports.add("alike", predict(0.1, 1, 400), 1.0, alike)
    reports.add("uneven", predict(0.1, 1, 400), 2.0, [predict(0.16, 2, 400), predict(0.22, 3, 400)])
    decision = compare(reports.read("alike", "uneven"), settings)
    alike_row, uneven_row = decision.rows
    assert len(alike_row.trainings) == len(uneven_row.trainings) == 3
    mean = sum(uneven_row.trainings) / 3
    ends: list[Any] = [row.intervals["test"]["defective"] for row in decision.rows]
    assert ends[1].low < mean < ends[1].high
    assert ends[1].high - ends[1].low > 2 * (ends[0].high - ends[0].low)


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "balanced_accuracy", "macro_f1", "f1"])
def test_other_metrics_decide(reports: Any, predict: Any, settings: Compare, metric: Any) -> None:
    for seed, (name, errors, seconds) in enumerate((("poor", 0.4, 1.0), ("good", 0.02, 9.0)), start=1):
        reports.add(name, predict(errors, seed, 400), seconds)
    results = reports.read("poor", "good", metric=metric)
    decision = compare(results, settings.model_copy(update={"metric": metric}))
    assert (decision.winner, decision.verdict, decision.best) == ("good", "ship", "good")
    for row in decision.rows:
        interval: Any = row.interval
        assert row.trainings == pytest.approx([row.test], abs=1e-6)
        assert interval.low < row.test < interval.high
    difference: Any = next(pair.difference for pair in decision.pairs if pair.split == "test")
    assert difference.interval.low > 0
