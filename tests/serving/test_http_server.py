"""A body that is too large never reaches the model, whatever its header says; memory is bounded over all requests."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from meltpoint.serving import http_server
from meltpoint.serving.http_server import PASSED, Message, SizeLimit

Parts = list[bytes]


class Echo:
    """An application that answers with the size of the body, once it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        message = await receive()
        assert not message["more_body"]
        self.sizes.append(len(message["body"]))
        if self.gate:
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def ask(app: SizeLimit, parts: Parts, declared: int | None = None) -> tuple[int, bytes, int]:
    """The status and body of the answer, and how many parts were not read."""
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting[-1]["more_body"] = False
    sent: list[Any] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    length = sum(map(len, parts)) if declared is None else declared
    await app({"type": "http", "headers": [(b"content-length", str(length).encode())]}, receive, send)
    return sent[0]["status"], sent[1]["body"], len(waiting)


@pytest.mark.parametrize("parts", [[b""], [b"12345"], [b"12", b"", b"345"]])
def test_a_body_within_the_limit_comes_whole(parts: Parts) -> None:
    echo = Echo()
    assert asyncio.run(ask(SizeLimit(echo, 5, 9), parts))[:2] == (200, b"ok")
    assert echo.sizes == [len(b"".join(parts))]


@pytest.mark.parametrize("declared", [6, 0])
def test_a_larger_one_is_refused_and_read_away(declared: int) -> None:
    echo = Echo()
    app = SizeLimit(echo, 5, 9)
    status, body, left = asyncio.run(ask(app, [b"123", b"456"], declared))
    assert (status, left, echo.sizes, app.held) == (413, 0, [], 0)
    assert "5 are allowed" in json.loads(body)["message"]


def test_one_without_end_is_not_read_to_its_end() -> None:
    _, _, left = asyncio.run(ask(SizeLimit(Echo(), 5, 9), [b"12345"] * 100, 0))
    assert left == 100 - PASSED - 1


def test_all_that_wait_together_are_bounded() -> None:
    async def story() -> list[int]:
        echo = Echo()
        echo.gate = asyncio.Event()
        app = SizeLimit(echo, 5, 9)
        first = asyncio.create_task(ask(app, [b"12345"]))
        while not echo.sizes:
            await asyncio.sleep(0)
        refused = await ask(app, [b"12345"])
        small = asyncio.create_task(ask(app, [b"1234"]))
        while len(echo.sizes) < 2:
            await asyncio.sleep(0)
        echo.gate.set()
        statuses = [(await first)[0], refused[0], (await small)[0], (await ask(app, [b"12345"]))[0]]
        assert app.held == 0
        return statuses

    assert asyncio.run(story()) == [200, 503, 200, 200]


def test_an_application_that_fails_holds_nothing() -> None:
    async def fail(*_: Any) -> None:
        raise OSError("gone")

    app = SizeLimit(fail, 5, 9)
    with pytest.raises(OSError, match="gone"):
        asyncio.run(ask(app, [b"12345"]))
    assert app.held == 0


def test_what_the_server_prints_steers_no_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-P", http_server.__file__, str(tmp_path / "x\u202e"), "127.0.0.1", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert r"\u202e" in done.stderr
    assert "\u202e" not in done.stderr
