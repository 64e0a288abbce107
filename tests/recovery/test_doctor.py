"""What goes wrong with a store is found, and repaired if that is wanted."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meltpoint.cli import run
from meltpoint.recovery.doctor import Report, doctor
from meltpoint.registry import plan
from meltpoint.registry.golden_answers import check_golden_answers
from meltpoint.registry.ledger import LEDGER
from meltpoint.registry.version_files import fetch
from meltpoint.registry.versions import aliases, is_whole, versions_of
from meltpoint.tracking.database import read_schema
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.runs import KILLED, PROCESS, RUNNING, open_child
from meltpoint.tracking.store import open_store


def look(house: Any, repair: bool = False) -> Report:
    return doctor(house.params.register_.name, house.folder, repair)


def wrong(house: Any) -> list[str]:
    return [finding.what for finding in look(house).left]


def test_a_healthy_store(house: Any) -> None:
    house.register()
    assert look(house) == Report([], [])


@pytest.mark.parametrize(("registered", "mend"), [(True, "meltpoint sync"), (False, "make repro")])
def test_no_store_is_told(house: Any, registered: bool, mend: str) -> None:
    if registered:
        house.register()
    (house.folder / "mlruns" / "mlflow.db").unlink()
    (finding,) = look(house, repair=True).left
    assert "so that MLflow shows nothing" in finding.what
    assert finding.remedy == mend
    assert not (house.folder / "mlruns" / "mlflow.db").exists()


def test_runs_of_dead_processes_are_closed(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    alive, dead = open_child(store, state, "frozen", "a"), open_child(store, state, "finetune", "d")
    elsewhere = open_child(store, state, "finetune", "e")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = alive.data.tags[PROCESS].split()[0]
    store.log(dead.info.run_id, tags={PROCESS: f"{host} {gone.pid} 5"})
    store.log(elsewhere.info.run_id, tags={PROCESS: f"another-{host} {gone.pid} 5"})
    assert wrong(house) == [
        f"the run 'finetune · test_efficientnet @32' ({dead.info.run_id[:8]}) says RUNNING, and its process is gone"
    ]
    assert store.client.get_run(dead.info.run_id).info.status == RUNNING, "without --repair nothing is changed"
    look(house, repair=True)
    status = [store.client.get_run(run.info.run_id).info.status for run in (alive, dead, elsewhere)]
    assert status == [RUNNING, KILLED, RUNNING]
    assert wrong(house) == []


def test_a_process_that_reuses_the_number_is_another(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    run = open_child(store, state, "frozen", "a")
    host = run.data.tags[PROCESS].split()[0]
    store.log(run.info.run_id, tags={PROCESS: f"{host} {os.getpid()} 5"})
    assert len(wrong(house)) == 1


def test_aliases_follow_the_ledger(house: Any) -> None:
    house.register()
    store = open_store("shapes")
    store.client.delete_registered_model_alias("shapes", "champion")
    store.client.set_registered_model_alias("shapes", "candidate", "1")
    store.client.set_registered_model_alias("shapes", "mine", "1")
    assert wrong(house) == [
        "champion of shapes is nowhere in MLflow and version 1 in promotions.jsonl",
        "candidate of shapes is version 1 in MLflow and nowhere in promotions.jsonl",
    ]
    ledger = house.ledger()
    assert look(house, repair=True).left == []
    assert aliases(store) == {"champion": "1", "mine": "1"}
    assert house.ledger() == ledger


def test_a_lost_ledger_takes_no_alias(house: Any) -> None:
    house.register()
    (house.folder / LEDGER).unlink()
    (finding,) = look(house, repair=True).left
    assert "promotions.jsonl says nothing of shapes" in finding.what
    assert aliases(open_store("shapes")) == {"champion": "1"}


def test_a_run_id_in_the_environment_is_told(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    (finding,) = look(house, repair=True).left
    assert finding.remedy == "unset MLFLOW_RUN_ID"


def test_a_promotion_that_was_cut_short_is_finished(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(plan, "append", fail)
        with pytest.raises(KeyboardInterrupt):
            house.register()
    assert house.ledger() == []
    assert wrong(house)[0].startswith("a promotion was interrupted: shapes: ")
    assert look(house, repair=True).left == []
    assert [line["to"] for line in house.ledger()] == ["1"]
    assert wrong(house) == []


def test_places_elsewhere_are_somebodys_choice(house: Any, tmp_path: Path) -> None:
    store = open_store("shapes")
    theirs = (tmp_path / "server" / "mlruns" / "artifacts").as_uri()
    (tmp_path / "server" / "mlruns" / "artifacts").mkdir(parents=True)
    with sqlite3.connect(house.folder / "mlruns" / "mlflow.db") as tables:
        tables.execute("UPDATE experiments SET artifact_location = ?", (f"{theirs}/7",))
    tables.close()
    assert look(house) == Report([], [])
    assert store.client.get_experiment(store.experiment).artifact_location == f"{theirs}/7"


def set_schema(house: Any, schema: str) -> None:
    with sqlite3.connect(house.folder / "mlruns" / "mlflow.db") as tables:
        tables.execute("UPDATE alembic_version SET version_num = ?", (schema,))
    tables.close()


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: whole[:8192] + b"x" * 99999])
def test_a_damaged_database_is_a_sentence_that_names_the_repair(
    house: Any, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    house.register()
    path = house.folder / "mlruns" / "mlflow.db"
    path.write_bytes(damage(path.read_bytes()))
    for command in (house.register, lambda: open_store("shapes")):
        with pytest.raises(StoreError, match=r"database is damaged.*meltpoint doctor --repair"):
            command()
    assert "is not a database of MLflow, or is damaged" in wrong(house)[0]


def test_of_a_halved_database_each_command_says_the_same(tracked: Any) -> None:
    tracked.promote_twice()
    path = tracked.folder / "mlruns" / "mlflow.db"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = tracked.ledger()
    for words in (["sync"], ["rollback"], ["adopt"]):
        with pytest.raises(StoreError, match=r"database is damaged.*meltpoint doctor --repair"):
            run(words)
    assert wrong(tracked)[0] == f"{path} is not a database of MLflow, or is damaged"
    assert tracked.ledger() == before


def test_halves_of_databases_are_swept(house: Any) -> None:
    left = [house.folder / "mlruns" / name for name in (".mlflow.abc.db", ".mlflow.abc.db-journal")]
    for path in left:
        path.write_bytes(b"half")
    open_store("shapes")
    assert not any(path.exists() for path in left)


def test_a_schema_of_the_future_is_told(house: Any) -> None:
    set_schema(house, "ffffffffffff")
    (finding,) = look(house, repair=True).left
    assert "which the installed MLflow does not know: a newer one made it" in finding.what
    assert read_schema(house.folder / "mlruns" / "mlflow.db") == "ffffffffffff"


@pytest.mark.slow
def test_files_of_versions_come_back(tracked: Any) -> None:
    tracked.promote_twice()
    store = open_store("shapes")
    assert wrong(tracked) == []
    shutil.rmtree(fetch("models:/shapes@previous").parents[1])
    card = fetch("models:/shapes@champion") / "card.json"
    card.write_text(card.read_text() + " ")
    assert wrong(tracked) == ["files of versions of shapes are gone or changed: 1, 2"]
    assert look(tracked, repair=True).left == []
    assert all(is_whole(store, version) for version in versions_of(store).values())
    check_golden_answers(fetch("models:/shapes@previous"))

    shutil.rmtree(tracked.folder / ".dvc" / "cache")
    shutil.rmtree(fetch("models:/shapes@previous").parents[1])
    (finding,) = look(tracked, repair=True).left
    assert finding.remedy.endswith("dvc pull --all-commits")


@pytest.mark.slow
def test_versions_that_mlflow_lacks_are_written(tracked: Any, cloned: Any) -> None:
    tracked.promote_twice()
    house = cloned("--all-commits")
    assert wrong(house)[0] == "promotions.jsonl names versions of shapes that MLflow lacks: 1, 2"
    report = look(house, repair=True)
    assert report.left == []
    assert aliases(open_store("shapes")) == {"champion": "2", "previous": "1"}
