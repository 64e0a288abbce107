"""Curves arrive once each, however they are cut, repeated or begun anew."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.tracking.runs import open_child
from meltpoint.tracking.store import Point, open_store
from meltpoint.tracking.training_curves import LoggedSteps, Tail, points_of

LINES = [{"step": step, "epoch": step / 2, "train/loss": 1 / step} for step in range(1, 9)]
TEXT = "".join(json.dumps(line) + "\n" for line in LINES).encode()


@settings(deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=6).map(sorted))
def test_a_file_that_grows_is_read_once(tmp_path_factory: Any, cuts: list[int]) -> None:
    path = tmp_path_factory.mktemp("tail") / "history.jsonl"
    tail, read = Tail(path), []
    for cut in [*cuts, len(TEXT)]:
        path.write_bytes(TEXT[:cut])
        lines, tail.offset = tail.read()
        read += lines
    assert read == LINES


def test_what_was_not_taken_comes_again(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_bytes(TEXT)
    tail = Tail(tmp_path / "history.jsonl")
    assert tail.read() == tail.read()


def test_a_file_cut_shorter_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(TEXT)
    tail = Tail(path)
    _, tail.offset = tail.read()
    path.write_bytes(TEXT[: len(TEXT) // 2])
    lines, _ = tail.read()
    assert lines[0] == LINES[0]


def test_there_may_be_no_file_yet(tmp_path: Path) -> None:
    assert Tail(tmp_path / "nothing").read() == ([], 0)


def test_points_are_spread_in_time_and_leave_out_what_is_no_metric() -> None:
    points = list(points_of([{"step": 1, "epoch": 0.5, "a": 1}, {"step": 2, "a": 2, "word": "x"}], 1000, 2000))
    assert points == [Point("a", 1.0, 1500, 1), Point("a", 2.0, 2000, 2)]


def test_no_point_twice(house: Any) -> None:
    store = open_store("shapes")
    run = open_child(store, house.state, "frozen", "k").info.run_id
    points = list(points_of(LINES, 0, 1))
    assert LoggedSteps.of(store, run).add(points[:5]) == 5
    assert LoggedSteps.of(store, run).add(points) == 3
    assert [point.step for point in store.client.get_metric_history(run, "train/loss")] == list(range(1, 9))
