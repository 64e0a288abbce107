"""With a real `mlflow server` and a real `mlflow models serve`, both on loopback."""

import base64
import json
import os
import shutil
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

from meltpoint.registry.package import fingerprint
from meltpoint.registry.register import register
from meltpoint.registry.store import open_store
from meltpoint.registry.versions import aliases, fetch

pytestmark = pytest.mark.slow


@contextmanager
def started(folder: Path, path: str, *words: str) -> Iterator[str]:
    """The address of `mlflow WORDS` on a free port, once `path` answers; it is stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }  # fmt: skip
    with (folder / f"{port}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", port],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}{path}", process, folder / f"{port}.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)
            process.wait(20)


def wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise AssertionError(f"{address} does not answer:\n{log.read_text()}")


@pytest.fixture
def server(house: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tracking server that keeps artifacts itself."""
    shutil.copy(finished / "mlruns" / "mlflow.db", tmp_path / "server.db")
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    with started(tmp_path, "/health", "server", *store, "--serve-artifacts", "--workers", "1") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield address


def numbers(address: str) -> dict[str, Any]:
    store = open_store("shapes")
    assert store.uri == address
    runs = store.client.search_runs([store.experiment])
    return {
        "runs": {run.info.run_id: run.info.status for run in runs},
        "points": sum(len(store.client.get_metric_history(r.info.run_id, k)) for r in runs for k in r.data.metrics),
        "versions": len(store.client.search_model_versions("name = 'shapes'")),
        "aliases": aliases(store),
    }


def test_a_server_keeps_everything(house: Any, server: str, tmp_path: Path) -> None:
    assert register(house.params).alias == "champion"
    before = numbers(server)
    assert len(before["runs"]) == 3
    assert set(before["runs"].values()) == {"FINISHED"}
    register(house.params)
    assert numbers(server) == before
    assert len(house.ledger()) == 1
    assert not (house.folder / "mlruns" / "artifacts").exists(), "the server keeps them"
    assert any((tmp_path / "kept").rglob("test_mistakes.json"))
    assert fingerprint(fetch("models:/shapes@champion")) == fingerprint(house.folder / "models" / "frozen")


def check_answers(address: str, pictures: Path) -> None:
    images = [base64.b64encode((pictures / f"{number}.png").read_bytes()).decode() for number in (0, 1)]
    rows = [{"image": image} for image in (images[0], "bad", base64.b64encode(b"<html>").decode(), images[1])]
    answer = requests.post(f"{address}/invocations", json={"dataframe_records": rows}, timeout=60)
    assert answer.status_code == 200, answer.text
    said = answer.json()["predictions"]
    assert [row["error"] is None for row in said] == [True, False, False, True]
    assert said[0]["shape"] in ("circle", "square")
    assert sum(json.loads(said[0]["colour.all"]).values()) == pytest.approx(1, abs=1e-4)
    assert (
        requests.post(f"{address}/invocations", json={"dataframe_records": [{"x": 1}]}, timeout=60).status_code == 400
    )


def test_a_champion_is_served(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(house.params)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", open_store("shapes").uri)
    with started(
        tmp_path, "/ping", "models", "serve", "-m", "models:/shapes@champion", "--env-manager", "local"
    ) as address:
        check_answers(address, house.folder / "data" / "raw")
