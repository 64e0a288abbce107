"""A local store that is broken is written anew from files and takes the old one's place whole; the old one is kept."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import OURS, started

from meltpoint.cli import run
from meltpoint.recovery import rebuild as module
from meltpoint.recovery.doctor import REPAIR, Report, doctor
from meltpoint.registry.golden_answers import check_golden_answers
from meltpoint.registry.ledger import LEDGER
from meltpoint.registry.version_files import VersionError, fetch, fetch_package
from meltpoint.registry.versions import aliases, is_whole, versions_of
from meltpoint.tracking.database import known_schemas, read_schema
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.runs import PROCESS, open_child, runs_of
from meltpoint.tracking.store import open_store

pytestmark = pytest.mark.slow
BY_HAND = "notes, tags and names that somebody wrote by hand in MLflow"


def look(house: Any, repair: bool = False) -> Report:
    return doctor("shapes", house.folder, repair)


def move(house: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same repository in another folder, as the working directory."""
    moved = type(house)(house.folder.rename(house.folder.with_name(name)))
    monkeypatch.chdir(moved.folder)
    return moved


def kept(house: Any) -> Path:
    """The store that was replaced."""
    (found,) = (house.folder / "mlruns").glob("replaced-*")
    return Path(found)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_moved_repository_finds_its_files(tracked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.promote_twice()
    old = {run.info.run_id for run in runs_of(open_store("shapes"))}
    moved = move(tracked, "another #1 house", monkeypatch)
    assert moved.folder in fetch("models:/shapes@champion").parents
    (finding,) = look(moved).left
    assert (finding.remedy, finding.lost) == (REPAIR, (BY_HAND,))
    assert "a%20house/mlruns/artifacts, and the files are in" in finding.what
    report = look(moved, repair=True)
    assert (len(report.repaired), report.left) == (1, [])
    check_golden_answers(fetch("models:/shapes@champion"))
    check_golden_answers(fetch("models:/shapes@previous"))
    store = open_store("shapes")
    assert len(runs_of(store)) == len(old)
    assert all(store.client.list_artifacts(run.info.run_id) for run in runs_of(store))
    assert {path.name for path in (kept(moved) / "artifacts").iterdir()} == old | {"models"}
    assert read_schema(kept(moved) / "mlflow.db") == known_schemas()[0]
    assert moved.register().alias == "champion"
    assert len(runs_of(store)) == len(old)
    assert look(moved) == Report([], [])


@pytest.fixture
def copy(tracked: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy, as the working directory, of a repository that still stands and had another champion since."""
    tracked.register()
    tracked.commit()
    copied = type(tracked)(Path(shutil.copytree(tracked.folder, tracked.folder.with_name("copy"), symlinks=True)))
    tracked.train("frozen", 3)
    tracked.decide("frozen")
    tracked.register()
    with (tracked.folder / fetch("models:/shapes/1") / "card.json").open("a") as card:
        card.write(" ")  # so that what comes from the original can be told
    monkeypatch.chdir(copied.folder)
    return copied


def test_a_copy_whose_original_stands_reads_its_own_files_and_says_so(
    copy: Any, tracked: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    original = (tracked.folder / "mlruns" / "artifacts").as_uri()
    assert copy.folder in fetch("models:/shapes@champion").parents
    assert f"was moved or copied from {original}" in capsys.readouterr().err
    run(["predict", "photos/0.png"])
    assert f"was moved or copied from {original}" in capsys.readouterr().err
    fetch_package("models:/shapes@champion")
    store = open_store("shapes", moved=True)
    (version,) = versions_of(store).values()
    assert is_whole(store, version)
    before = files(tracked.folder)
    for write in (copy.register, lambda: run(["sync"]), lambda: run(["adopt"])):
        with pytest.raises(StoreError, match=r"was moved or copied from there.*: meltpoint doctor --repair"):
            write()
    assert files(tracked.folder) == before


def test_a_copy_without_its_files_does_not_read_those_of_the_original(copy: Any, tracked: Any) -> None:
    shutil.rmtree(copy.folder / "mlruns" / "artifacts")
    with pytest.raises(VersionError, match=r"without it: there is no .*: meltpoint doctor --repair"):
        fetch("models:/shapes@champion")
    (finding,) = look(copy).left
    assert "addresses in MLflow lead to" in finding.what


def test_a_copied_repository_keeps_to_itself(copy: Any, tracked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(tracked.folder)
    assert len(look(copy, repair=True).repaired) == 1
    assert copy.folder in fetch("models:/shapes@champion").parents
    assert look(copy) == Report([], [])
    assert copy.register().alias == "champion"
    assert files(tracked.folder) == before


def test_what_the_old_store_alone_holds_is_said_before(
    tracked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked.promote_twice()
    tracked.edit(lambda raw: raw["strategies"]["frozen"]["probe"].update(lr=0.7))
    tracked.train("frozen", 4)
    tracked.decide("frozen")
    tracked.register()  # and nobody commits it
    shutil.rmtree(tracked.folder / "models")
    tracked.call("git", "checkout", "-q", "params.yaml")
    tracked.call("dvc", "checkout", "--quiet", "--force")
    open_store("of another program")
    moved = move(tracked, "moved", monkeypatch)
    (finding,) = look(moved).left
    assert finding.lost[0].startswith("3 runs of shapes that no commit and not the working tree holds, such as '")
    assert finding.lost[1:] == (
        "the files of versions 3 of shapes, whose models no commit or DVC's cache holds: they keep their numbers "
        "(dvc pull --all-commits may bring the files first)",
        "other experiments: of another program",
        BY_HAND,
    )
    real, told = module.sync, list[str]()

    def listen(*words: Any) -> Any:
        told.append(capsys.readouterr().out)
        return real(*words)

    monkeypatch.setattr(module, "sync", listen)
    report = look(moved, repair=True)
    assert all(f"not brought back: {lost}" in told[0] for lost in finding.lost), "before anything is written"
    assert "shapes version 3 has no files" in report.left[0].remedy
    assert aliases(open_store("shapes"))["champion"] == "3", "as the ledger says"
    assert kept(moved).is_dir()


def test_a_rebuild_that_fails_leaves_everything(tracked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.register()
    tracked.commit()
    moved = move(tracked, "moved", monkeypatch)
    before = files(moved.folder / "mlruns")
    real = module.sync

    def fail(*words: Any) -> None:
        real(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "sync", fail)
    with pytest.raises(KeyboardInterrupt):
        look(moved, repair=True)
    after = files(moved.folder / "mlruns")
    assert {name: after.get(name) for name in before} == before
    assert {name for name in after.keys() - before.keys() if not name.endswith(".lock")} == set()


def test_nothing_is_registered_between_writing_and_swapping(tracked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.register()
    tracked.commit()
    moved, tried = move(tracked, "moved", monkeypatch), []
    real = module.sync

    def sync_and_try(*words: Any) -> Any:
        written = real(*words)
        lock = str(moved.folder / "mlruns" / ".register.lock")
        script = f"import filelock; filelock.FileLock({lock!r}).acquire(timeout=0)"
        tried.append(subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True))
        return written

    monkeypatch.setattr(module, "sync", sync_and_try)
    assert look(moved, repair=True).left == []
    assert [one.stderr.strip().splitlines()[-1].split(":")[0] for one in tried] == ["filelock._error.Timeout"]


def test_nothing_is_rebuilt_while_a_training_writes(tracked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.register()
    tracked.commit()
    child = open_child(open_store("shapes"), tracked.state, "frozen", "a")
    assert PROCESS in child.data.tags
    moved = move(tracked, "moved", monkeypatch)
    (finding,) = look(moved, repair=True).left
    assert "is running and writes to the store" in finding.remedy
    assert not list((moved.folder / "mlruns").glob("replaced-*"))


def test_without_dvc_nothing_is_rebuilt(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.register()
    moved = move(house, "moved", monkeypatch)
    (finding,) = look(moved, repair=True).left
    assert "not a DVC repository" in finding.remedy
    assert not list((moved.folder / "mlruns").glob("replaced-*"))


def test_another_model_under_the_same_number_is_replaced(tracked: Any) -> None:
    tracked.promote_twice()
    one, two = (line["key"] for line in tracked.ledger() if line["alias"] == "champion")
    swapped = [{**line, "key": two if line["key"] == one else one} for line in tracked.ledger()]
    lines = map(json.dumps, swapped)
    (tracked.folder / LEDGER).write_text("\n".join(lines) + "\n")
    (finding,) = look(tracked).left
    assert finding.what == "MLflow has other models of shapes than promotions.jsonl as versions 1, 2"
    assert look(tracked, repair=True).left == []
    assert look(tracked) == Report([], [])


def test_a_file_that_is_no_database_is_replaced(tracked: Any) -> None:
    tracked.register()
    tracked.commit()
    (tracked.folder / "mlruns" / "mlflow.db").write_text("<html>")
    assert look(tracked).left[0].what.endswith("mlflow.db is not a database of MLflow, or is damaged")
    assert look(tracked, repair=True).left == []
    assert (kept(tracked) / "mlflow.db").read_text() == "<html>"
    check_golden_answers(fetch("models:/shapes@champion"))


def test_an_older_schema_is_replaced(tracked: Any) -> None:
    tracked.register()
    tracked.commit()
    (tracked.folder / "mlruns" / "mlflow.db").write_bytes(b"")
    newest, before = known_schemas()[:2]
    make_database_of(before, tracked.folder)
    (finding,) = look(tracked).left
    assert f"has the schema {before}, and the installed MLflow wants {newest}, which is newer" in finding.what
    assert "runs of states that are in no commit" in finding.lost
    report = look(tracked, repair=True)
    assert ([one.remedy for one in report.repaired], report.left) == ([REPAIR], [])
    assert read_schema(tracked.folder / "mlruns" / "mlflow.db") == newest
    assert read_schema(kept(tracked) / "mlflow.db") == before
    assert tracked.register().sentence == "shapes version 1 (frozen) is the champion already"


def make_database_of(schema: str, folder: Path) -> None:
    """An empty database as an older MLflow made it."""
    code = (
        "import sys, mlflow, sqlalchemy; from pathlib import Path; from alembic import command\n"
        "from mlflow.store.db import utils\n"
        "engine = sqlalchemy.create_engine(sys.argv[1])\n"
        "utils.InitialBase.metadata.create_all(engine)\n"
        "config = utils._get_alembic_config(sys.argv[1])\n"
        "with engine.begin() as connection:\n"
        "    config.attributes['connection'] = connection\n"
        "    command.upgrade(config, sys.argv[2])\n"
    )
    uri = f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    done = subprocess.run([sys.executable, "-c", code, uri, schema], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pages_and_champion_work_after_a_move(
    tracked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked.register()
    tracked.commit()
    moved = move(tracked, "moved", monkeypatch).folder
    with pytest.raises(SystemExit):
        run(["doctor"])
    assert "to repair it: meltpoint doctor --repair" in capsys.readouterr().out
    run(["doctor", "--repair"])
    assert capsys.readouterr().out.rstrip().endswith("Nothing else is wrong.")

    with started(moved, "/health", "ui", program=OURS) as address:
        query = {"experiment_ids": [open_store("shapes").experiment]}
        found = requests.post(f"{address}/api/2.0/mlflow/runs/search", json=query, timeout=60).json()["runs"]
        assert len(found) == 3
        for one in found:
            where = {"run_uuid": one["info"]["run_id"]}
            listed = requests.get(
                f"{address}/api/2.0/mlflow/artifacts/list", params={"run_id": where["run_uuid"]}, timeout=60
            )
            names = {file["path"] for file in listed.json()["files"]}
            told = "card.json" if "card.json" in names else "compare.json"
            text = requests.get(f"{address}/get-artifact", params={**where, "path": told}, timeout=60)
            assert json.loads(text.text)
    check_golden_answers(fetch("models:/shapes@champion"))
