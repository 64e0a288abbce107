"""A repository that was moved to another folder: `meltpoint doctor --repair`, and its pages and its champion work."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from meltpoint.cli import run
from meltpoint.recovery.moved import DatabaseError, correct_places, stale_places, upgrade
from meltpoint.registry.golden_answers import check_version
from meltpoint.registry.register import register
from meltpoint.registry.versions import fetch
from meltpoint.tracking.store import open_store


def test_addresses_are_corrected_once(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store("shapes")
    old = (house.folder / "mlruns" / "artifacts").as_uri()
    moved = house.folder.rename(house.folder.with_name("b"))
    assert stale_places(moved) == {old: 2}, "the experiment, and the one in the bin"
    correct_places(moved)
    assert stale_places(moved) == {}
    store = open_store("shapes", moved)
    assert store.client.get_experiment(store.experiment).artifact_location == (moved / "mlruns" / "artifacts").as_uri()


def test_an_upgrade_that_fails_leaves_everything(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (house.folder / "mlruns" / "mlflow.db").read_bytes()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DatabaseError, match="cannot be brought to the schema.*It is as it was"):
        upgrade(house.folder)
    assert (house.folder / "mlruns" / "mlflow.db").read_bytes() == before


@contextmanager
def pages(folder: Path) -> Iterator[str]:
    """The address of `meltpoint ui`, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with (folder.parent / "ui.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from meltpoint.cli import main; main()", "ui", "--port", port],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, folder.parent / "ui.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)
            process.wait(20)


def wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(400):
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_pages_and_champion_work_after_a_move(
    house: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(house.params)
    experiment = open_store("shapes").experiment
    moved = house.folder.rename(house.folder.with_name("moved"))
    monkeypatch.chdir(moved)
    with pytest.raises(SystemExit):
        run(["doctor"])
    assert "to mend it: meltpoint doctor --repair" in capsys.readouterr().out
    run(["doctor", "--repair"])
    assert capsys.readouterr().out.rstrip().endswith("Nothing else is wrong.")

    with pages(moved) as address:
        query = {"experiment_ids": [experiment]}
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
    check_version(fetch("models:/shapes@champion"))
