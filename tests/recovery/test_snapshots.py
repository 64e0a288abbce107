"""Which commits hold a finished pipeline, and how one is laid out again."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from meltpoint.recovery.snapshots import Cache, SnapshotError, exports_are_linked, find_snapshots, link_files

STAGES = ("download", "split", "augment", "embed", "train@a", "evaluate@a", "compare")
PARAMS = {"seed": 1, "strategies": {"a": {"lr": 0.1}}}
FOLDER, FILE = "f" * 32 + ".dir", "e" * 32


def stages() -> dict[str, Any]:
    """What a dvc.lock says of a finished pipeline."""
    lock: dict[str, Any] = {name: {"cmd": "true"} for name in STAGES}
    lock["augment"]["outs"] = [{"path": "data/views", "md5": FOLDER}]
    lock["train@a"] |= {
        "deps": [{"path": "data/views", "md5": FOLDER}, {"path": "src/x.py", "md5": "1" * 32}],
        "params": {"params.yaml": {"seed": 1, "strategies.a": {"lr": 0.1}}},
        "outs": [{"path": "models/a", "md5": FILE}],
    }
    return lock


def write(folder: Path, params: dict[str, Any], lock: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=folder, check=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    return tmp_path


def test_finished_pipelines_of_every_branch_are_found_once(repository: Path) -> None:
    write(repository, PARAMS, stages())
    commit(repository)
    git(repository, "checkout", "-qb", "try")
    lock = stages()
    lock["train@a"]["params"]["params.yaml"]["seed"] = 2
    write(repository, {**PARAMS, "seed": 2}, lock)
    commit(repository)
    git(repository, "checkout", "-q", "-")
    found = find_snapshots(repository)
    assert sorted(snapshot.params["seed"] for snapshot in found) == [1, 2]
    (working,) = [snapshot for snapshot in found if snapshot.when is None]
    assert working.params["seed"] == 1, "the working tree stands for its commit"
    assert working.outs == {"data/views": FOLDER, "models/a": FILE}


def test_exports_are_of_the_same_run_and_all_there_or_none(repository: Path) -> None:
    params, lock, more = {**PARAMS, "export": {"onnx": {}}}, stages(), "d" * 32
    lock["export@onnx"] = {
        "deps": [{"path": "models/a", "md5": FILE}],
        "params": {"params.yaml": {"export.onnx": {}}},
        "outs": [{"path": "exports/onnx", "md5": more}],
    }
    lock["export@litert"] = {"outs": [{"path": "exports/litert", "md5": more}]}  # asked for no more
    lock["offer"] = {"outs": [{"path": "reports/exports.json", "md5": FILE}]}
    write(repository, params, lock)
    (snapshot,) = find_snapshots(repository)
    assert snapshot.exports == {"exports/onnx": more, "reports/exports.json": FILE}
    cache, laid = Cache(repository / "cache"), repository / "laid"
    for md5, content in ((FILE, "x"), (FOLDER, "[]"), (more, "y")):
        assert not exports_are_linked(snapshot, laid)
        (cache.folder / md5[:2]).mkdir(parents=True)
        (cache.folder / md5[:2] / md5[2:]).write_text(content)
        if md5 != FILE:
            laid = repository / md5
            laid.mkdir()
            link_files(snapshot, cache, laid)
    assert exports_are_linked(snapshot, laid)
    lock["export@onnx"]["deps"][0]["md5"] = "9" * 32
    write(repository, params, lock)
    assert [one.exports for one in find_snapshots(repository)] == [{}]


@pytest.mark.parametrize("what", ["params", "strategy", "input", "absent", "nothing"])
def test_the_middle_of_a_change_is_no_snapshot(repository: Path, what: str) -> None:
    lock, params = stages(), PARAMS
    match what:
        case "params":
            params = {**PARAMS, "seed": 2}
        case "strategy":
            params = {**PARAMS, "strategies": {**PARAMS["strategies"], "b": {}}}  # type: ignore[dict-item]
        case "input":
            lock["train@a"]["deps"][0]["md5"] = "0" * 32
        case "absent":
            del lock["compare"]
        case "nothing":
            lock = {}
    write(repository, params, lock)
    commit(repository)
    assert find_snapshots(repository) == []


def test_files_without_git_or_sense_are_none(tmp_path: Path) -> None:
    assert find_snapshots(tmp_path) == []
    (tmp_path / "params.yaml").write_text("a: [")
    (tmp_path / "dvc.lock").write_text("- 1")
    assert find_snapshots(tmp_path) == []


def test_a_folder_of_links(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write(repository, PARAMS, stages())
    (snapshot,) = find_snapshots(repository)
    contents, folder = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("folder")
    for md5, text in (
        (FOLDER, json.dumps([{"relpath": "x/y.txt", "md5": "a" * 32}])),
        (FILE, "model"),
        ("a" * 32, "y"),
    ):
        (contents / md5[:2]).mkdir()
        (contents / md5[:2] / md5[2:]).write_text(text)
    link_files(snapshot, Cache(contents), folder)
    assert (folder / "data" / "views" / "x" / "y.txt").read_text() == "y"
    assert (folder / "models" / "a").read_text() == "model"
    assert yaml.safe_load((folder / "params.yaml").read_text()) == PARAMS

    (contents / FOLDER[:2] / FOLDER[2:]).unlink()
    with pytest.raises(SnapshotError, match="lacks 1 files of none, such as data/views.*dvc pull --all-commits"):
        link_files(snapshot, Cache(contents), tmp_path_factory.mktemp("other"))
