from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meltpoint.compare.charts import WIDTH, Point, Scale, place_differences, place_quality, place_reliability
from meltpoint.compare.intervals import Interval

strategies = st.dictionaries(
    st.text("abcdefgh_", min_size=1, max_size=12),
    st.tuples(st.floats(0, 1), st.floats(0, 0.2), st.floats(0, 1e7)),
    min_size=1,
    max_size=5,
)
metrics = st.sampled_from(["accuracy", "log_loss"])


@hypothesis_settings(deadline=None, max_examples=40)
@given(strategies, st.sampled_from(["train_seconds", "megabytes", "trainable_parameters"]), st.floats(0, 0.3), metrics)
def test_everything_of_the_quality_picture_lies_inside(
    rows: dict[str, tuple[float, float, float]], kind: str, margin: float, metric: str
) -> None:
    points = {
        name: Point(score, Interval(score - half, score + half) if half else None, cost, [score, score - half])
        for name, (score, half, cost) in rows.items()
    }
    placed = place_quality(points, metric, kind, margin)
    assert {mark.name for mark in placed.marks} == set(rows)
    for mark in placed.marks:
        assert placed.left <= mark.x <= WIDTH
        assert 0 <= mark.high <= mark.y <= mark.low <= placed.bottom
    assert 1 <= len(placed.x_ticks) <= 6
    assert all(placed.left <= tick.at <= WIDTH for tick in placed.x_ticks)
    assert len({tick.text for tick in placed.x_ticks}) == len(placed.x_ticks)
    for left, right in pairwise(placed.x_ticks):
        assert right.at - left.at > 3.6 * (len(left.text) + len(right.text)), "texts touch"
    assert placed.band[0] <= placed.band[1] <= placed.bottom


def test_names_of_near_marks_do_not_cover_each_other() -> None:
    names = ["frozen", "finetune", "adapter"]
    points = dict.fromkeys(names, Point(0.8, Interval(0.7, 0.9), 30.0, [0.8]))
    placed = place_quality(points, "accuracy", "train_seconds", 0.01)
    heights = sorted(mark.label_y for mark in placed.marks)
    assert heights[1] - heights[0] >= 16
    assert heights[2] - heights[1] >= 16


def test_the_score_of_a_mark_between_two_others_stands_below_its_interval() -> None:
    costs = {"frozen": 49.0, "partial": 180.0, "lora": 216.0, "finetune": 282.0}
    points = {name: Point(0.77, Interval(0.67, 0.85), seconds, [0.77]) for name, seconds in costs.items()}
    sides = {mark.name: mark.side for mark in place_quality(points, "accuracy", "train_seconds", 0.01).marks}
    assert sides == {"frozen": "right", "partial": "left", "lora": "below", "finetune": "right"}


def test_many_names_at_one_place_stay_inside_the_picture() -> None:
    names = [f"strategy_{number}" for number in range(9)]
    placed = place_quality(
        dict.fromkeys(names, Point(0.8, Interval(0.78, 0.82), 30.0, [0.8])), "accuracy", "megabytes", 0.01
    )
    heights = sorted(mark.label_y for mark in placed.marks)
    assert all(below - above >= 16 for above, below in pairwise(heights))
    assert 0 < heights[0] <= heights[-1] <= placed.height


def test_cheaper_stands_left_and_better_stands_higher() -> None:
    points = {
        "cheap": Point(0.7, Interval(0.65, 0.75), 40.0, [0.69, 0.71]),
        "dear": Point(0.9, Interval(0.88, 0.92), 500.0, [0.9]),
    }
    placed = place_quality(points, "accuracy", "train_seconds", 0.01)
    cheap, dear = placed.marks
    assert cheap.x < dear.x
    assert cheap.y > dear.y
    assert (len(cheap.trainings), dear.trainings) == (2, []), "one training alone is the mark"
    assert [tick.text for tick in placed.x_ticks] == ["30 s", "1 min", "3 min", "10 min"]


def test_differences_stand_about_zero_and_the_margin() -> None:
    rows = [("a", "test", 0.02, Interval(-0.01, 0.05), "p=0.20"), ("a", "val", 0.03, Interval(0.01, 0.05), "p=0.01")]
    pairs = [*rows, ("b", "test", 0.0, Interval(0.0, 0.0), "p=1.00")]
    placed = place_differences(pairs, {"a": -0.004, "b": 0.0}, "accuracy", 0.01)
    (first, second), (third,) = placed.rivals.values()
    assert first.low == placed.margin < placed.zero < first.at < first.high <= WIDTH
    assert first.y < second.y < third.y < placed.bottom < placed.height
    assert third.at == placed.zero == third.least
    assert first.least is not None
    assert placed.margin < first.least < placed.zero
    assert second.least is None, "val shows nothing"
    assert "0" in [tick.text for tick in placed.ticks]


def test_reliability_leaves_out_nothing() -> None:
    table = pd.DataFrame({"confidence": [0.55, 0.95], "accuracy": [0.1, 0.97], "images": [10, 90]})
    placed = place_reliability({"a": table, "empty": table.iloc[:0]})
    low, high = placed.lines["a"]
    assert placed.left < low.x < high.x <= WIDTH
    assert placed.bottom >= low.y > high.y > 0
    assert low.radius < high.radius
    assert placed.lines["empty"] == []


def test_a_scale_maps_its_ends() -> None:
    scale = Scale(1, 100, 10, 30, log=True)
    assert (scale(1), scale(10), scale(100)) == pytest.approx((10, 20, 30))
