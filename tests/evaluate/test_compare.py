from typing import Any

import pandas as pd
import pytest

from meltpoint.evaluate.compare import CompareError, Pair, compare
from meltpoint.params.judging import Compare
from meltpoint.tables import label_column


def test_val_chooses_and_test_decides(reports: Any, settings: Compare) -> None:
    evidence = reports.evidence(images=400, frozen=(0.25, 1.0), finetune=(0.05, 100.0))
    decision = compare(evidence, settings, seed=3)
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
        reports.add(name, predict(0.2, 1), seconds)
    decision = compare(reports.read("dear", "cheap", "middle"), settings, 0)
    assert (decision.winner, decision.verdict) == ("cheap", "ship")
    assert all(pair.difference.value == 0 and pair.p_holm == 1 for pair in decision.pairs)


def test_one_strategy_needs_no_pair(reports: Any, settings: Compare) -> None:
    decision = compare(reports.evidence(only=(0.1, 1.0)), settings, 0)
    assert (decision.winner, decision.verdict, decision.pairs) == ("only", "ship", [])
    assert "the only strategy" in decision.sentence


def test_a_small_test_is_not_enough(reports: Any, settings: Compare) -> None:
    decision = compare(reports.evidence(images=60, cheap=(0.15, 1.0), dear=(0.02, 9.0), poor=(0.5, 2.0)), settings, 0)
    assert (decision.best, decision.winner, decision.verdict) == ("dear", "dear", "not_enough_evidence")
    assert decision.ruling.more_images
    assert decision.ruling.standings["poor"] == "worse"


def test_p_values_are_adjusted_for_the_rivals_of_a_split(reports: Any, settings: Compare) -> None:
    decision = compare(reports.evidence(a=(0.1, 1.0), b=(0.12, 2.0), c=(0.14, 3.0)), settings, 0)
    for split in ("val", "test"):
        pairs: list[Pair] = [pair for pair in decision.pairs if pair.split == split]
        smallest = min(pairs, key=lambda pair: pair.difference.p_value)
        assert len(pairs) == 2
        assert smallest.p_holm == pytest.approx(min(1, 2 * smallest.difference.p_value))


def test_the_same_seed_decides_the_same(reports: Any, settings: Compare) -> None:
    evidence = reports.evidence(a=(0.1, 1.0), b=(0.12, 2.0))
    settings = settings.model_copy(update={"metric": "macro_f1"})
    assert compare(evidence, settings, 5).pairs == compare(evidence, settings, 5).pairs


def test_without_labels_of_the_main_head_nothing_is_decided(reports: Any, predict: Any, settings: Compare) -> None:
    table = predict(0.1, 1)
    table.loc[table["split"] == "test", label_column("defective")] = pd.NA
    reports.add("only", table)
    with pytest.raises(CompareError, match="No image of test has a label for the main head 'defective'"):
        compare(reports.read("only"), settings, 0)


def test_another_head_may_lack_labels(reports: Any, predict: Any, settings: Compare) -> None:
    table = predict(0.1, 1)
    table[label_column("severity")] = pd.array([pd.NA] * len(table), dtype="string")
    reports.add("only", table)
    assert list(compare(reports.read("only"), settings, 0).rows[0].intervals["test"]) == ["defective"]
