"""Two runs are equal, but for what was measured; anything else is named."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from meltpoint import repeat as room
from meltpoint.cli import run
from meltpoint.params.read import parse_params
from meltpoint.repeat import RepeatError, compare_decisions, compare_locks, repeat, small_params, write_pictures

ROOT = Path(__file__).parents[1]
LOCK: dict[str, Any] = {
    "train@frozen": {
        "cmd": "python stages/train.py frozen",
        "deps": [{"path": "data/views", "hash": "md5", "md5": "a" * 32, "size": 1}],
        "params": {"params.yaml": {"seed": 7}},
        "outs": [
            {"path": "models/frozen", "hash": "md5", "md5": "b" * 32, "size": 2000},
            {"path": "reports/costs/train-frozen.json", "hash": "md5", "md5": "c" * 32, "size": 3},
        ],
    },
    "compare": {
        "cmd": "python stages/compare.py",
        "deps": [{"path": "reports/costs", "hash": "md5", "md5": "d" * 32, "size": 4}],
        "outs": [{"path": "reports/compare.json", "hash": "md5", "md5": "e" * 32, "size": 5}],
    },
}
COSTS = {"seconds": 1.5, "peak_megabytes": 10.0, "epochs": 2}
DECISION = {
    "winner": "frozen",
    "sentence": "It costs 2 s.",
    "strategies": [{"cost": {"train_seconds": 1, "parameters": 9}}],
}


def write(folder: Path, lock: Any, costs: Any = COSTS, decision: Any = DECISION) -> Path:
    (folder / "reports" / "costs").mkdir(parents=True)
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    (folder / "reports" / "costs" / "train-frozen.json").write_text(json.dumps(costs))
    (folder / "reports" / "compare.json").write_text(json.dumps(decision))
    return folder


def measure_otherwise(lock: Any) -> None:
    lock["train@frozen"]["outs"][1] |= {"md5": "f" * 32, "size": 4}
    lock["compare"]["deps"][0]["md5"] = lock["compare"]["outs"][0]["md5"] = "f" * 32


def change_output(lock: Any) -> None:
    lock["train@frozen"]["outs"][0]["md5"] = "f" * 32


def change_parameter(lock: Any) -> None:
    lock["train@frozen"]["params"]["params.yaml"]["seed"] = 8


def lose_stage(lock: Any) -> None:
    del lock["compare"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda lock: None, []),
        (measure_otherwise, []),
        (change_output, ["train@frozen: out models/frozen: bbbbbbbbbbbb (2,000 bytes) and ffffffffffff (2,000 bytes)"]),
        (change_parameter, ["train@frozen: params: {'params.yaml': {'seed': 7}} and {'params.yaml': {'seed': 8}}"]),
        (
            lose_stage,
            [
                "compare: out reports/compare.json: measured and absent",
                "compare: cmd: python stages/compare.py and absent",
                "compare: dep reports/costs: measured and absent",
            ],
        ),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change: Callable[[Any], None], named: list[str]) -> None:
    other = copy.deepcopy(LOCK)
    change(other)
    folders = write(tmp_path / "a", LOCK), write(tmp_path / "b", other)
    assert compare_locks(*folders) == named


@pytest.mark.parametrize(
    ("costs", "decision", "named"),
    [
        (
            {"seconds": 9.9},
            {"sentence": "It costs 3 s.", "strategies": [{"cost": {"train_seconds": 7, "parameters": 9}}]},
            [],
        ),
        ({"epochs": 3}, {}, ["reports/costs/train-frozen.json"]),
        ({}, {"winner": "finetune"}, ["reports/compare.json"]),
        ({}, {"strategies": [{"cost": {"train_seconds": 1, "parameters": 8}}]}, ["reports/compare.json"]),
    ],
)
def test_of_what_was_measured_only_the_measures_may_differ(
    tmp_path: Path, costs: Any, decision: Any, named: list[str]
) -> None:
    first, second = write(tmp_path / "a", LOCK), write(tmp_path / "b", LOCK, COSTS | costs, DECISION | decision)
    assert [line.split(":")[0] for line in compare_decisions(first, second)] == named


def test_a_file_that_one_run_lacks_is_named(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", LOCK), write(tmp_path / "b", LOCK)
    (second / "reports" / "costs" / "train-frozen.json").unlink()
    assert [line.split(":")[0] for line in compare_decisions(first, second)] == ["reports/costs/train-frozen.json"]


class Dvc:
    """Stands in for dvc: `repro` writes what a run has written, the second time after `change`."""

    def __init__(self, change: Callable[[Any], None]) -> None:
        self.change, self.runs = change, 0

    def __call__(self, folder: Path, threads: int, *words: str) -> None:
        assert (folder / "params.yaml").exists()
        assert threads == 3
        if words == ("repro",):
            lock = copy.deepcopy(LOCK)
            if self.runs:
                self.change(lock)
            self.runs += 1
            write(folder, lock)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program, without what is large; copies of it go below `copies`."""
    for name in ("src", "stages"):
        (tmp_path / "here" / name).mkdir(parents=True)
    for name in ("dvc.yaml", ".dvcignore"):
        (tmp_path / "here" / name).touch()
    (tmp_path / "here" / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_equal_runs_are_told_with_what_is_left_out(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "_dvc", Dvc(measure_otherwise))
    run(["repeat", "--threads", "3"])
    told = capsys.readouterr().out
    assert "1 outputs are equal to the byte" in told
    assert "reports/costs, reports/compare.json" in told
    assert list((repository.parent / "copies").iterdir()) == []


def test_runs_that_differ_are_kept(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_dvc", Dvc(change_output))
    with pytest.raises(RepeatError, match="differ in 1 place.*\n.*out models/frozen"):
        repeat(repository, 3)
    kept = next((repository.parent / "copies").iterdir())
    assert (kept / "first" / "dvc.lock").exists()
    assert (kept / "second" / "dvc.lock").exists()


def test_a_run_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RepeatError, match=r"`dvc repro` failed"):
        room._dvc(tmp_path, 1, "repro")


@pytest.mark.slow
def test_data_features_and_weights_are_really_repeated(
    tmp_path: Path, warm_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as to the frozen model; `make verify` does the rest."""
    real = room._dvc

    def shorter(folder: Path, threads: int, *words: str) -> None:
        real(folder, threads, *(("repro", "train@frozen") if words == ("repro",) else words))

    (tmp_path / "copies").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    monkeypatch.setattr(room, "_dvc", shorter)
    monkeypatch.setattr(room, "compare_decisions", lambda first, second: [])
    assert "outputs are equal to the byte" in repeat(ROOT, 2)


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("elpv*.yaml")), ids=lambda path: path.stem)
def test_the_small_job_is_a_valid_one(preset: Path) -> None:
    params = parse_params(small_params(yaml.safe_load(preset.read_text())), "small")
    assert set(params.strategies) >= {"frozen", "finetune"}


def test_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pictures(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 97
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
