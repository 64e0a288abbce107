"""Images a second that a served model answers to clients who ask at once, against its own predictor on the same files.

    python benchmarks/run.py serving

Each client sends one image, waits for the answer, and sends the next; or 32 images in each request. Clients share the
cores with the server, and so cost little: their requests are made ready before. Then one client sends what is meant to
harm: 256 small files that unpack to 49 million pixels each, while another one asks for one image at a time.
`benchmarks/locustfile.py` asks a server that you have started yourself.
"""

import base64
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import psutil

from reporting import Row
from streaming import write_model, write_pictures

IMAGES, ROUNDS, BATCH = 256, 3, 32
LOADS = ((1, BATCH), (4, BATCH), (1, 1), (8, 1), (64, 1), (200, 1))  # clients, and images in each of their requests
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

        own(), _load(address, texts, 1, BATCH)
        theirs: list[float] = []
        loads: list[list[Load]] = [[] for _ in LOADS]
        for _ in range(ROUNDS):
            theirs.append(own())
            for load, found in zip(LOADS, loads, strict=True):
                found.append(_load(address, texts, *load))
        rows = []
        for (clients, size), found in zip(LOADS, loads, strict=True):
            what = f"serving {clients} {'client' if clients == 1 else 'clients'}, {size} a request, images a second"
            middle, late = median(one.middle for one in found), median(one.late for one in found)
            note = f"latency: median {middle:.2f} s, 95th percentile {late:.2f} s"
            rows.append(Row(what, median(one.rate for one in found), median(theirs), RIVAL, note))
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
            with suppress(ConnectionError), closing(_connect(f"127.0.0.1:{port}")) as connection:
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.2)
        yield f"127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _connect(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address, timeout=600)


def _request(images: Sequence[str]) -> bytes:
    return json.dumps({"instances": list(images)}).encode()


def _ask(connection: http.client.HTTPConnection, body: bytes) -> str:
    """The text of the answer to a request."""
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, text
    return text


def _load(address: str, texts: Sequence[str], clients: int, size: int) -> Load:
    """So many clients at once, who send so many images each time."""
    local = threading.local()

    def ask(body: bytes) -> float:
        if not hasattr(local, "connection"):
            local.connection = _connect(address)
        begun = time.perf_counter()
        text = _ask(local.connection, body)
        spent = time.perf_counter() - begun
        assert all(row["error"] is None for row in json.loads(text)["predictions"])
        return spent

    some = texts[:48] if clients * size == 1 else texts
    bodies = [_request(some[start : start + size]) for start in range(0, len(some), size)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as crowd:
        spent = list(crowd.map(ask, bodies))
    return Load(len(some) / (time.perf_counter() - begun), median(spent), quantiles(spent, n=20)[-1])


def _attack(address: str, process: psutil.Process, text: str) -> Iterator[Row]:
    """How long small requests take beside a harmful one, and the memory of the server and its model meanwhile."""
    from PIL import Image

    content = io.BytesIO()
    Image.new("1", BOMB).save(content, "PNG")
    bomb = base64.b64encode(content.getvalue()).decode()
    connection, body = _connect(address), _request([text])

    def timed() -> float:
        started = time.perf_counter()
        _ask(connection, body)
        return time.perf_counter() - started

    alone = median(timed() for _ in range(5))
    harmful = threading.Thread(target=_ask, args=(_connect(address), _request([bomb] * 256)))
    begun, spent, memory = time.perf_counter(), [], 0
    harmful.start()
    while harmful.is_alive():
        spent.append(timed())
        memory = max(memory, sum(one.memory_info().rss for one in (process, *process.children())))
    whole = time.perf_counter() - begun
    yield Row("seconds of one image beside 256 bombs, the slowest", max(spent), None, "", f"alone {alone:.2f}")
    yield Row("seconds until the bombs are answered", whole, None, "", f"peak memory {memory / 1e6:,.0f} MB")
