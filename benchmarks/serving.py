"""Images a second that a served model answers to clients who ask at once, against its own predictor on the same files.

    python benchmarks/run.py serving

Each client sends one image, waits for the answer, and sends the next; or 32 images in each request. Clients share the
cores with the server, and so cost little: their requests are made ready before, and what they take is told beside what
server, model and predictor take. The predictor keeps freed memory, as the server and `meltpoint predict` do. Then one
client sends what is meant to harm: 256 small files that unpack to 49 million pixels each, while another one asks for
one image at a time. `benchmarks/locustfile.py` asks a server that you have started yourself.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import psutil

from reporting import Row
from streaming import write_model, write_pictures

IMAGES, ROUNDS, BATCH = 256, 5, 32
LOADS = ((1, BATCH), (4, BATCH), (1, 1), (8, 1), (64, 1), (200, 1))  # clients, and images in each of their requests
BOMB = (7000, 7000)
RIVAL = "its predictor"
START = (
    "import sys; from pathlib import Path; from meltpoint.serving.http_server import Address, serve;"
    " from meltpoint.serving.request_limits import read_limits;"
    " serve(Path(sys.argv[1]), Address('127.0.0.1', int(sys.argv[2]), None, None), read_limits({}), 'it')"
)


def measure(folder: Path) -> list[Row]:
    """Rates and latencies, server and predictor in turn, medians; then a small request beside a harmful one."""
    from meltpoint.memory import keep_freed_memory
    from meltpoint.serving.mlflow_package import write_package
    from meltpoint.tasks.answerer import open_answerer

    pictures = sorted(write_pictures(folder / "pictures", IMAGES).iterdir())
    contents = [path.read_bytes() for path in pictures]
    texts = [base64.b64encode(content).decode() for content in contents]
    model = write_model(folder / "model")
    write_package(model, texts[0], "m-bench", "bench", folder / "package")
    keep_freed_memory()
    answerer = open_answerer(model)
    bodies = {size: [_request(texts[at : at + size]) for at in range(0, IMAGES, size)] for size in (1, BATCH)}
    with _served(folder / "package") as (address, process):
        processes = psutil.Process(), process, *process.children()

        def own() -> Load:
            def answer() -> list[float]:
                assert all(answer.error is None for answer in answerer.stream(contents, 1, None, BATCH))
                return [0.0, 0.0]

            return _measured(answer, IMAGES, processes)

        def ask(clients: int, size: int) -> Load:
            some = bodies[size][:48] if clients * size == 1 else bodies[size]
            return _measured(lambda: _load(address, some, clients), len(some) * size, processes)

        own(), ask(1, BATCH)
        rounds = [(own(), [ask(*load) for load in LOADS]) for _ in range(ROUNDS)]
        rows = [_row(*load, [(theirs, ours[place]) for theirs, ours in rounds]) for place, load in enumerate(LOADS)]
        return [*rows, *_attack(address, process, texts[0])]


@dataclass(frozen=True)
class Load:
    """Images a second, seconds of a request (median, 95th percentile), CPU milliseconds an image of each process."""

    rate: float
    middle: float
    late: float
    cpu: list[float]


def _measured(work: Callable[[], list[float]], images: int, processes: Sequence[psutil.Process]) -> Load:
    """What so many images take; `work` gives the seconds of its requests."""
    cpu, begun = [sum(one.cpu_times()[:2]) for one in processes], time.perf_counter()
    spent = work()
    rate = images / (time.perf_counter() - begun)
    took = [1000 * (sum(one.cpu_times()[:2]) - before) / images for one, before in zip(processes, cpu, strict=True)]
    return Load(rate, median(spent), quantiles(spent, n=20)[-1], took)


def _row(clients: int, size: int, rounds: Sequence[tuple[Load, Load]]) -> Row:
    """Predictor and server of each round as a row: medians."""
    theirs, ours = median(one.rate for one, _ in rounds), median(one.rate for _, one in rounds)
    share = median(server.rate / predictor.rate for predictor, server in rounds)
    middle, late = median(one.middle for _, one in rounds), median(one.late for _, one in rounds)
    own = median(one.cpu[0] for one, _ in rounds)
    crowd, server, model = (median(one.cpu[place] for _, one in rounds) for place in range(3))
    note = (
        f"{share:.2f} of its predictor in the median of {len(rounds)} rounds; latency: median {middle:.2f} s, 95th"
        f" percentile {late:.2f} s; CPU milliseconds an image: clients {crowd:.2f}, server {server:.2f}, model"
        f" {model:.1f}, predictor alone {own:.1f}"
    )
    people = "client" if clients == 1 else "clients"
    what = f"server images a second against its own predictor, {clients} {people}, {size} a request"
    return Row(what, ours, theirs, RIVAL, note)


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


def _load(address: str, bodies: Sequence[bytes], clients: int) -> list[float]:
    """The seconds of each request, of so many clients at once."""
    waiting, spent = iter(bodies), list[float]()

    def ask() -> None:
        with closing(_connect(address)) as connection:
            for body in waiting:  # each goes to one of the threads: they share the iterator of a list
                begun = time.perf_counter()
                text = _ask(connection, body)
                spent.append(time.perf_counter() - begun)
                assert text.count('"error":null') == body.count(b",") + 1, text

    with ThreadPoolExecutor(clients) as crowd:
        for one in [crowd.submit(ask) for _ in range(clients)]:
            one.result()
    return spent


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
