"""With a real `mlflow server` and a real `mlflow models serve`, both on loopback."""

import base64
import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from PIL import Image
from servers import OURS, started

from meltpoint.registry.version_files import fetch, fingerprint
from meltpoint.registry.versions import aliases
from meltpoint.tracking.store import open_store

pytestmark = pytest.mark.slow


def picture(path: Path, seed: int, size: int) -> None:
    """Noise as PNG: about three bytes a pixel."""
    noise = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


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
    assert house.register().alias == "champion"
    before = numbers(server)
    assert len(before["runs"]) == 3
    assert set(before["runs"].values()) == {"FINISHED"}
    house.register()
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


def ask(address: str, images: list[str]) -> list[dict[str, Any]]:
    rows = [{"image": image} for image in images]
    answer = requests.post(f"{address}/invocations", json={"dataframe_records": rows}, timeout=110)
    assert answer.status_code == 200, answer.text
    said: list[dict[str, Any]] = answer.json()["predictions"]
    return said


def encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def check_limits(address: str, pictures: Path, folder: Path) -> None:
    """With 6 rows, 0.05 MB and 0.01 million pixels allowed."""
    picture(folder / "wide.png", 1, 101)
    picture(folder / "heavy.png", 1, 140)
    good, wide, heavy = (encode(path) for path in (pictures / "0.png", folder / "wide.png", folder / "heavy.png"))
    said = ask(address, [good, wide, heavy, good, good, good, good])
    reasons = [str(row["error"]).split(":")[0].split(" (")[0] for row in said]
    assert reasons == ["None", "too many pixels", "too large", *["None"] * 3, "too many rows"]
    assert said[0] == said[3]


def check_crowd(address: str, pictures: Path) -> None:
    """200 requests at the same time: each gets the answer to its own pictures."""
    images = [encode(pictures / f"{number}.png") for number in range(8)]
    alone = [ask(address, [image])[0] for image in images]
    with ThreadPoolExecutor(200) as crowd:
        said = list(crowd.map(lambda number: ask(address, [images[number % 8], "bad"]), range(200)))
    assert [rows[0] for rows in said] == [alone[number % 8] for number in range(200)]
    assert {rows[1]["error"] for rows in said} == {"not base64"}


def check_doors(address: str, pictures: Path) -> None:
    """Health for all; numbers and answers for those with the token, under a name of this machine."""
    assert requests.get(f"{address}/health", timeout=60).text == "there\n"
    assert requests.get(f"{address}/metrics", timeout=60).status_code == 401
    assert requests.get(f"{address}/health", headers={"Host": "evil.example"}, timeout=60).status_code == 421
    assert requests.get(f"{address}/docs", headers={"Authorization": "Bearer secret"}, timeout=60).status_code == 404
    numbers = requests.get(f"{address}/metrics", headers={"Authorization": "Bearer secret"}, timeout=60).text
    assert re.search(r'^meltpoint_images_total\{outcome="answered"\} [1-9]', numbers, re.MULTILINE)
    batches = re.search(r"^meltpoint_batch_images_count (\S+)", numbers, re.MULTILINE)
    images = re.search(r"^meltpoint_batch_images_sum (\S+)", numbers, re.MULTILINE)
    assert float(batches[1]) < float(images[1]) / 2, "those of a crowd went to the model together"


def check_backend_dies(address: str, pictures: Path) -> None:
    """The process that holds the model is killed: who asks meanwhile is told, and it comes back."""
    server = next(one for one in psutil.net_connections() if one.laddr and one.laddr.port == int(address.split(":")[2]))
    psutil.Process(server.pid).children()[0].kill()
    rows = {"dataframe_records": [{"image": encode(pictures / "0.png")}]}
    first = requests.post(f"{address}/invocations", json=rows, timeout=110)
    assert first.status_code in (500, 503)  # it was given to the model, or the end was seen before that
    assert any(why in first.json()["message"] for why in ("has ended", "not loaded"))
    deadline = time.monotonic() + 110
    while requests.get(f"{address}/ready", timeout=60).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert requests.post(f"{address}/invocations", json=rows, timeout=110).status_code == 200


def is_open(address: str, host: str) -> bool:
    """Whether something listens on the port of `address` at another address of this machine."""
    with socket.socket() as caller:
        caller.settimeout(5)
        return caller.connect_ex((host, int(address.rsplit(":", 1)[1]))) == 0


@pytest.fixture
def limited(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A champion, and small limits in the environment."""
    house.register()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", open_store("shapes").uri)
    for name, limit in (("ROWS", "6"), ("MEGABYTES", "0.05"), ("MEGAPIXELS", "0.01")):
        monkeypatch.setenv(f"MELTPOINT_SERVE_{name}", limit)


def test_a_champion_is_served_by_mlflow_within_limits(house: Any, limited: None, tmp_path: Path) -> None:
    serve = ("models", "serve", "-m", "models:/shapes@champion", "--env-manager", "local")
    with started(tmp_path, "/ping", *serve) as address:
        pictures = house.folder / "photos"
        check_answers(address, pictures)
        check_limits(address, pictures, tmp_path)
        check_crowd(address, pictures)
        assert is_open(address, "127.0.0.1")
        assert not is_open(address, "127.0.0.2")


def test_meltpoint_serve_also_limits_requests(
    house: Any, limited: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTPOINT_SERVE_TOKEN", "secret")
    monkeypatch.setattr(requests, "post", partial(requests.post, headers={"Authorization": "Bearer secret"}))
    with started(house.folder, "/ready", "serve", program=OURS) as address:
        pictures = house.folder / "photos"
        check_answers(address, pictures)
        check_limits(address, pictures, tmp_path)
        check_crowd(address, pictures)
        check_doors(address, pictures)
        check_backend_dies(address, pictures)
        refused = requests.post(f"{address}/invocations", data=b" " * 128_000_001, timeout=60)
        assert refused.status_code == 413
        assert "128,000,000 are allowed" in refused.json()["message"]
        assert is_open(address, "127.0.0.1")
        assert not is_open(address, "127.0.0.2")


def test_the_pages_are_for_this_machine_alone(house: Any) -> None:
    with started(house.folder, "/health", "ui", program=OURS) as address:
        assert is_open(address, "127.0.0.1")
        assert not is_open(address, "127.0.0.2")
