import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from meltpoint.compare.results import ResultsError
from meltpoint.tables import answer_column, label_column


def test_answers_are_of_labelled_images_in_one_order(reports: Any, predict: Any) -> None:
    first, second = predict(0.1, 1, images=40), predict(0.3, 2, images=40)
    unlabelled = first["id"].isin([12, 60])
    first[answer_column("defective")] = "defective"  # whatever is most probable, as by a threshold of 0
    for table in (first, second):
        table.loc[unlabelled, label_column("defective")] = pd.NA
    reports.add("first", first)
    reports.add("second", second.sample(frac=1, random_state=0))  # rows of a report may come in any order
    results = reports.read("first", "second")
    for split in ("val", "test"):
        answers, rows = results.answers[split]["defective"], first[(first["split"] == split) & ~unlabelled]
        assert answers.true.tolist() == (rows["defective.label"] == "defective").astype(int).tolist()
        for said, table in zip(answers.predicted, (first, second), strict=True):
            answers_given = table.loc[rows.index, answer_column("defective")]
            assert said.tolist() == [(answers_given == "defective").astype(int).tolist()]
        assert len(results.answers[split]["severity"].true) == 40


def test_costs_count_the_embedding(reports: Any) -> None:
    results = reports.results(images=30, frozen=(0.1, 7.0))
    assert results.costs["frozen"] == {
        "train_seconds": 10.0, "peak_megabytes": 200.0, "trainable_parameters": 5, "parameters": 50,
        "latency_p50_ms": 10.0, "latency_p95_ms": 12.0, "throughput_per_second": 90.0, "megabytes": 13.5,
        "predict_megabytes": 300.0,
    }  # fmt: skip
    assert results.metrics["frozen"]["test"]["severity"]["images"] == 30
    assert results.mistakes["frozen"].exists()
    assert results.reliability["frozen"]["images"].sum() == 30


def test_speeds_that_cannot_be_told_apart_decide_alike(reports: Any) -> None:
    """And a speed that was measured at another moment, by itself, counts for nothing."""
    reports.results(images=20, one=(0.1, 7.0), other=(0.2, 7.0))
    own = {"latency_p95_ms": 40.0, "latency_tied_ms": 7.65, "throughput_per_second": 300.0}
    speeds = {"one": {**own, "latency_p50_ms": 7.65}, "other": {**own, "latency_p50_ms": 7.9}}
    (reports.folder / "costs" / "speed.json").write_text(json.dumps({"strategies": speeds}))
    costs = reports.read("one", "other").costs
    assert [costs[name]["latency_p50_ms"] for name in ("one", "other")] == [7.65, 7.65]
    assert [costs[name]["latency_own_ms"] for name in ("one", "other")] == [7.65, 7.9]
    assert (costs["one"]["latency_p95_ms"], costs["one"]["throughput_per_second"]) == (40.0, 300.0)


def test_a_strategy_whose_speed_was_not_measured_with_the_others_is_refused(reports: Any) -> None:
    reports.results(images=20, one=(0.1, 7.0), other=(0.2, 7.0))
    speeds = {"one": {"latency_p50_ms": 1.0, "latency_p95_ms": 1.0, "throughput_per_second": 1.0}}
    (reports.folder / "costs" / "speed.json").write_text(json.dumps({"strategies": speeds}))
    with pytest.raises(ResultsError, match=r"'other'.*lack 'latency_p50_ms'.*evaluate@other speed"):
        reports.read("one", "other")


@pytest.mark.parametrize(
    "file",
    [
        "strategies/late/predictions.parquet",
        "strategies/late/metrics.json",
        "strategies/late/hierarchy.json",
        "strategies/late/pictures/mistakes.png",
        "costs/predict-late.json",
    ],
)
def test_a_missing_report_names_the_command_that_makes_it(reports: Any, file: str) -> None:
    reports.results(images=20, early=(0.1, 1), late=(0.1, 1))
    (reports.folder / file).unlink()
    with pytest.raises(ResultsError, match=r"'late'.*dvc repro evaluate@late"):
        reports.read("early", "late")


def test_costs_without_a_key_are_refused(reports: Any) -> None:
    reports.results(images=20, only=(0.1, 1))
    path = reports.folder / "costs" / "train-only.json"
    path.write_text(json.dumps({"peak_megabytes": 1, "trainable_parameters": 1}))
    with pytest.raises(ResultsError, match=r"lack 'seconds'"):
        reports.read("only")


def test_other_images_are_refused(reports: Any, predict: Any) -> None:
    table = predict(0.1, 1, images=20)
    reports.add("first", table)
    reports.add("fewer", table.iloc[:-1])
    reports.add("moved", table.assign(split=np.where(table["id"] == 10, "test", table["split"])))
    for name in ("fewer", "moved"):
        with pytest.raises(
            ResultsError, match=rf"'{name}' was evaluated on other images.*evaluate@first evaluate@{name}"
        ):
            reports.read("first", name)


def test_other_labels_are_refused(reports: Any, predict: Any) -> None:
    table = predict(0.1, 1, images=20)
    reports.add("first", table)
    reports.add("second", table.assign(**{label_column("severity"): pd.array(["much"] * 40, dtype="string")}))
    with pytest.raises(ResultsError, match=r"other labels, in severity\.label"):
        reports.read("first", "second")
