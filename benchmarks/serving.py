"""Images a second that a served model answers to clients who ask at once, against its own predictor on the same files.

    python benchmarks/run.py serving

Each client sends one image, waits for the answer, and sends the next; `a batch` sends 32 images in each request. Then
one client sends what is meant to harm: 256 small files that unpack to 49 million pixels each, while another one asks
for one image at a time.
"""

import base64
import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import requests

from reporting import Row
from streaming import write_model, write_pictures

IMAGES, ROUNDS, CLIENTS, BATCH = 256, 3, (1, 8, 64, 200), 32
BOMB = (7000, 7000)
RIVAL = "its predictor"
START = (
    "import sys; from pathlib import Path; from meltpoint.serving.http_server import Address, serve;"
    " from meltpoint.serving.request_limits import read_limits;"
    " serve(Path(sys.argv[1]), Address('127.0.0.1', int(sys.argv[2]), None, None), read_limits({}))"
)


def measure(folder: Path) -> list[Row]:
    """Rates and latencies, server and predictor in turn, medians; then a small request beside a harmful one."""
    from meltpoint.serving.mlflow_package import write_package
    from meltpoint.tasks.answerer import open_answerer

    pictures = sorted(write_pictures(folder / "pictures", IMAGES).iterdir())
    contents = [path.read_bytes() for path in pictures]
    texts = [base64.b64encode(content).decode() for content in contents]
    model = write_model(folder / "model")
    write_package(model, texts[0], "m-bench", "bench", folder / "package")
    answerer = open_answerer(model)
    with _served(folder / "package") as (address, process):

        def own() -> float:
            begun = time.perf_counter()
            assert all(answer.error is None for answer in answerer.stream(contents, 1, None, BATCH))
            return len(contents) / (time.perf_counter() - begun)

        own(), _ask(address, texts[:BATCH])
        rates: dict[str, list[float]] = {name: [] for name in ("own", "batches")}
        loads: dict[int, list[Load]] = {clients: [] for clients in CLIENTS}
        for _ in range(ROUNDS):
            rates["own"].append(own())
            rates["batches"].append(_batches(address, texts))
            for clients in CLIENTS:
                loads[clients].append(_load(address, texts, clients))
        theirs = median(rates["own"])
        rows = [Row(f"serving batches of {BATCH}, images a second", median(rates["batches"]), theirs, RIVAL, "")]
        for clients, found in loads.items():
            middle, late = median(one.middle for one in found), median(one.late for one in found)
            note = f"latency: median {middle:.2f} s, 95th percentile {late:.2f} s"
            rate = median(one.rate for one in found)
            rows.append(Row(f"serving {clients} clients, images a second", rate, theirs, RIVAL, note))
        return [*rows, *_attack(address, process, texts[0])]


@dataclass(frozen=True)
class Load:
    """Images a second, and seconds of a request: the median and the 95th percentile."""

    rate: float
    middle: float
    late: float


@contextmanager
def _served(package: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a server of a package, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", START, str(package), str(port)]
    with (package.parent / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "DO_NOT_TRACK": "1"})
    try:
        while True:
            assert process.poll() is None, (package.parent / "server.log").read_text()
            try:
                if requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).ok:
                    break
            except requests.ConnectionError:
                pass
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _ask(address: str, images: Sequence[str], session: Any = requests) -> list[dict[str, Any]]:
    answer = session.post(f"{address}/invocations", json={"instances": list(images)}, timeout=600)
    assert answer.status_code == 200, answer.text
    said: list[dict[str, Any]] = answer.json()["predictions"]
    return said


def _batches(address: str, texts: Sequence[str]) -> float:
    """Images a second of one client that sends batches."""
    begun = time.perf_counter()
    for start in range(0, len(texts), BATCH):
        assert all(row["error"] is None for row in _ask(address, texts[start : start + BATCH]))
    return len(texts) / (time.perf_counter() - begun)


def _load(address: str, texts: Sequence[str], clients: int) -> Load:
    """So many clients at once, who send one image each time."""
    local = threading.local()

    def ask(text: str) -> float:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        begun = time.perf_counter()
        assert _ask(address, [text], local.session)[0]["error"] is None
        return time.perf_counter() - begun

    some = texts[: max(48, clients * 2)] if clients < 8 else texts
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as crowd:
        spent = list(crowd.map(ask, some))
    return Load(len(some) / (time.perf_counter() - begun), median(spent), quantiles(spent, n=20)[-1])


def _attack(address: str, process: psutil.Process, text: str) -> Iterator[Row]:
    """How long small requests take beside a harmful one, and the memory of the server and its model meanwhile."""
    from PIL import Image

    content = io.BytesIO()
    Image.new("1", BOMB).save(content, "PNG")
    bomb = base64.b64encode(content.getvalue()).decode()
    alone = median(_timed(address, text) for _ in range(5))
    harmful = threading.Thread(target=lambda: _ask(address, [bomb] * 256))
    begun, spent, memory = time.perf_counter(), [], 0
    harmful.start()
    while harmful.is_alive():
        spent.append(_timed(address, text))
        memory = max(memory, sum(one.memory_info().rss for one in (process, *process.children())))
    whole = time.perf_counter() - begun
    yield Row("seconds of one image beside 256 bombs, the slowest", max(spent), None, "", f"alone {alone:.2f}")
    yield Row("seconds until the bombs are answered", whole, None, "", f"peak memory {memory / 1e6:,.0f} MB")


def _timed(address: str, text: str) -> float:
    begun = time.perf_counter()
    _ask(address, [text])
    return time.perf_counter() - begun
