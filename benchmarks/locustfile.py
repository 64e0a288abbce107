"""Users who ask a server that has been started, each for some images at a time, again and again.

    pip install -e '.[load]'
    meltpoint serve
    locust -f benchmarks/locustfile.py --headless --users 64 --spawn-rate 64 --run-time 30s \\
        --host http://127.0.0.1:5001 --pictures FOLDER --images 1

It ends with status 1 if a request failed. Of a token: set MELTPOINT_SERVE_TOKEN here, too.
"""

import base64
import json
import os
from argparse import ArgumentParser
from itertools import cycle, islice
from pathlib import Path

from locust import FastHttpUser, events, task
from locust.env import Environment


def describe(parser: ArgumentParser) -> None:
    """Add the words that are ours."""
    parser.add_argument("--pictures", type=Path, help="a folder of picture files")
    parser.add_argument("--images", type=int, default=1, help="in each request")


def make_ready(environment: Environment, **_: object) -> None:
    """Encode the requests, so that sending them costs little."""
    options = environment.parsed_options
    assert options is not None
    files = sorted(path for path in options.pictures.iterdir() if path.is_file())
    images = cycle([base64.b64encode(path.read_bytes()).decode() for path in files])
    User.bodies = [
        json.dumps({"instances": list(islice(images, options.images))})
        for _ in range(max(1, len(files) // options.images))
    ]


class User(FastHttpUser):
    """One who waits for each answer before the next request."""

    bodies: list[str]

    def on_start(self) -> None:
        """Begin, as every user, with the first request."""
        self.turn = cycle(self.bodies)

    @task
    def ask(self) -> None:
        """A request is a success if each of its images is answered."""
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get("MELTPOINT_SERVE_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        with self.client.post("/invocations", next(self.turn), headers=headers, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: {answer.text}")
            elif reasons := {row["error"] for row in answer.json()["predictions"]} - {None}:
                answer.failure(f"images without an answer: {sorted(reasons)}")


events.init_command_line_parser.add_listener(describe)  # type: ignore[no-untyped-call]
events.init.add_listener(make_ready)  # type: ignore[no-untyped-call]
