"""The store is found, made once and whole, and trouble with it is told in a sentence."""

import os
import sqlite3
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import make_url
from warm_process import nursery

from meltpoint.recovery.rebuild import stale_addresses
from meltpoint.registry.version_files import fetch
from meltpoint.registry.versions import is_whole, versions_of
from meltpoint.tracking.database import store_uri
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.store import Point, Store, _experiment, open_store, repository_root


class Recorder:
    """Stands in for MLflow's client: remembers how much came with each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def log_batch(self, run: str, **entities: Any) -> None:
        self.calls += [(kind, len(values)) for kind, values in entities.items()]


def test_root_is_the_repository_in_a_throw_away_copy_too(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repository_root() == house.folder.resolve()
    monkeypatch.setenv("DVC_ROOT", str(house.folder.parent))
    assert repository_root() == house.folder.parent.resolve()


def test_an_experiment_that_another_clone_makes_meanwhile_is_used(tmp_path: Path) -> None:
    store = open_store("shapes", tmp_path)
    before = iter([None])  # at the first look it is not there
    late: Any = SimpleNamespace(
        get_experiment_by_name=lambda name: next(before, store.client.get_experiment_by_name(name)),
        create_experiment=store.client.create_experiment,
    )
    assert _experiment(late, "shapes", tmp_path, store.uri) == store.experiment
    with pytest.raises(StoreError, match="cannot be used"):
        _experiment(late, "no/../name" * 100, tmp_path, store.uri)


def test_a_server_in_the_environment_comes_first(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_uri(house.folder) == f"sqlite:///{house.folder}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert store_uri(house.folder) == "http://127.0.0.1:1"


ODD = ["why? 50%20off #1", "a%3Fb;c=d&e", "caf\u00e9 'n' \"tea\" \u732b"]


@pytest.mark.parametrize("name", ODD)
def test_a_path_of_any_letters_is_addressed_as_it_is(house: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made in another place: neither a database, nor files of a model, nor an empty folder."""
    place = house.folder.parent / "odd" / name
    place.parent.mkdir()
    house.folder.rename(place)
    (place / "mlruns" / "mlflow.db").unlink()
    monkeypatch.chdir(place)
    moved = type(house)(place)
    assert moved.register().alias == "champion"
    assert [path.name for path in place.parent.iterdir()] == [name]
    assert not (place / "odd").exists()
    store = open_store("shapes")
    assert make_url(store.uri).database == str(place / "mlruns" / "mlflow.db")
    assert (place / "mlruns" / "mlflow.db").stat().st_size > 0
    assert fetch("models:/shapes@champion").is_relative_to(place / "mlruns" / "artifacts")
    assert [is_whole(store, version) for version in versions_of(store).values()] == [True]
    assert stale_addresses(store) == {}
    assert [path.name for path in place.parent.iterdir()] == [name]


def test_what_an_older_sqlalchemy_would_misread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlalchemy.make_url", lambda uri: SimpleNamespace(database=uri.partition("///")[2]))
    with pytest.raises(StoreError, match=r"the path holds \? or %.*Move the repository"):
        store_uri(Path("/tmp/why?"))
    assert store_uri(Path("/tmp/plain #1")) == "sqlite:////tmp/plain #1/mlruns/mlflow.db"


def test_experiment_is_made_once_below_mlruns(house: Any) -> None:
    first, again = open_store("shapes"), open_store("shapes")
    assert first.experiment == again.experiment
    names = [experiment.name for experiment in first.client.search_experiments()]
    assert names == ["shapes"], "nobody asked for `Default`"
    location = first.client.get_experiment(first.experiment).artifact_location
    assert location == (house.folder / "mlruns" / "artifacts").as_uri()


def test_experiment_is_taken_out_of_the_bin(house: Any) -> None:
    store = open_store("shapes")
    store.client.delete_experiment(store.experiment)
    assert open_store("shapes").experiment == store.experiment
    assert store.client.get_experiment(store.experiment).lifecycle_stage == "active"


def test_telemetry_is_off_and_timeouts_are_short(house: Any) -> None:
    open_store("shapes")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 2


def test_dead_server_is_told(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreError, match=r"http://127.0.0.1:1 .*Start the server, or unset MLFLOW_TRACKING_URI"):
        open_store("shapes")


def test_schema_of_another_mlflow_is_told(house: Any) -> None:
    copy = house.folder / "other"
    (copy / "mlruns").mkdir(parents=True)
    (house.folder / "mlruns" / "mlflow.db").replace(copy / "mlruns" / "mlflow.db")
    with sqlite3.connect(copy / "mlruns" / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
    with pytest.raises(StoreError, match="another version of MLflow.*mlflow db upgrade"):
        open_store("shapes", copy)


def test_calls_stay_within_mlflows_limits() -> None:
    client = Recorder()
    store = Store("", Path(), client, "shapes", "1")  # type: ignore[arg-type]
    points = [Point("loss", 1.0, 0, step) for step in range(2500)]
    store.log("run", points, {f"p{number}": "x" * 9000 for number in range(150)}, {"note": "y" * 9000})
    assert client.calls == [
        ("metrics", 1000),
        ("metrics", 1000),
        ("metrics", 500),
        ("params", 100),
        ("params", 50),
        ("tags", 1),
    ]


def test_long_values_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, list[Any]] = {}
    client = SimpleNamespace(log_batch=lambda run, **entities: kept.update(entities))
    Store("", Path(), client, "shapes", "1").log("run", params={"p": "x" * 9000}, tags={"t": "y" * 9000})  # type: ignore[arg-type]
    assert len(kept["params"][0].value) == 6000
    assert len(kept["tags"][0].value) == 8000


@pytest.mark.slow
def test_two_processes_make_one_database(tmp_path: Path) -> None:
    code = "from meltpoint.tracking.store import open_store; print(open_store('shapes').experiment)"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC"))}
    python = str(nursery() / "python")
    both = [
        subprocess.Popen([python, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = {process.communicate()[0] for process in both}
    assert answers == {"1\n"}
    assert {path.name for path in (tmp_path / "mlruns").iterdir()} == {
        "mlflow.db",
        ".database.lock",
        ".experiment.lock",
    }
