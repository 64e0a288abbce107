"""What stands before a served model: sizes, times, names, tokens, and the line of each request."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from meltpoint.serving import guard
from meltpoint.serving.guard import PASSED, Door, Message, SizeLimit, allowed_hosts

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


async def ask(
    app: SizeLimit, parts: Parts, declared: int | None = None, address: str = "127.0.0.1"
) -> tuple[int, bytes, int]:
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
    headers = [(b"content-length", str(length).encode())]
    await app({"type": "http", "headers": headers, "client": (address, 1)}, receive, send)
    return sent[0]["status"], sent[1]["body"], len(waiting)


@pytest.mark.parametrize("parts", [[b""], [b"12345"], [b"12", b"", b"345"]])
def test_a_body_within_the_limit_comes_whole(parts: Parts) -> None:
    echo = Echo()
    assert asyncio.run(ask(SizeLimit(echo, 5, 9, 9, 60), parts))[:2] == (200, b"ok")
    assert echo.sizes == [len(b"".join(parts))]


@pytest.mark.parametrize("declared", [6, 0])
def test_a_larger_one_is_refused_and_read_away(declared: int) -> None:
    echo = Echo()
    app = SizeLimit(echo, 5, 9, 9, 60)
    status, body, left = asyncio.run(ask(app, [b"123", b"456"], declared))
    assert (status, left, echo.sizes, app.held.total()) == (413, 0, [], 0)
    assert "5 are allowed" in json.loads(body)["message"]


def test_one_without_end_is_not_read_to_its_end() -> None:
    _, _, left = asyncio.run(ask(SizeLimit(Echo(), 5, 9, 9, 60), [b"12345"] * 100, 0))
    assert left == 100 - PASSED - 1


def test_all_that_wait_together_are_bounded() -> None:
    async def story() -> list[int]:
        echo = Echo()
        echo.gate = asyncio.Event()
        app = SizeLimit(echo, 5, 9, 99, 60)
        first = asyncio.create_task(ask(app, [b"12345"]))
        while not echo.sizes:
            await asyncio.sleep(0)
        refused = await ask(app, [b"12345"])
        small = asyncio.create_task(ask(app, [b"1234"]))
        while len(echo.sizes) < 2:
            await asyncio.sleep(0)
        echo.gate.set()
        statuses = [(await first)[0], refused[0], (await small)[0], (await ask(app, [b"12345"]))[0]]
        assert app.held.total() == 0
        return statuses

    assert asyncio.run(story()) == [200, 503, 200, 200]


def test_bodies_of_one_address_leave_room_for_those_of_others() -> None:
    """A few that stop before their end would keep out everybody until their time is over."""

    async def story() -> list[int]:
        app, held = SizeLimit(Echo(), 5, 20, 10, 60), asyncio.Event()

        def stall(address: str) -> asyncio.Task[None]:
            sent = [{"type": "http.request", "body": b"1234", "more_body": True}]

            async def receive() -> Message:
                if not sent:
                    await held.wait()
                return sent.pop() if sent else {"type": "http.disconnect"}

            async def send(_: Message) -> None:
                pass

            scope = {"type": "http", "headers": [], "client": (address, 1)}
            return asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]

        stalled = [stall("10.0.0.1") for _ in range(4)]
        while app.held["10.0.0.1"] < 8:
            await asyncio.sleep(0)
        statuses = [(await ask(app, [b"123"], address=one))[0] for one in ("10.0.0.1", "10.0.0.2")]
        held.set()
        await asyncio.gather(*stalled)
        assert not app.held
        return [*statuses, (await ask(app, [b"123"], address="10.0.0.1"))[0]]

    assert asyncio.run(story()) == [429, 200, 200]


def test_an_application_that_fails_holds_nothing() -> None:
    async def fail(*_: Any) -> None:
        raise OSError("gone")

    app = SizeLimit(fail, 5, 9, 9, 60)
    with pytest.raises(OSError, match="gone"):
        asyncio.run(ask(app, [b"12345"]))
    assert app.held.total() == 0


def test_a_body_that_does_not_end_is_refused() -> None:
    async def story() -> int:
        sent: list[Any] = []

        async def receive() -> Message:
            if not sent:
                sent.append(None)
                return {"type": "http.request", "body": b"1", "more_body": True}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        app = SizeLimit(Echo(), 5, 9, 9, 0.01)
        await app({"type": "http", "headers": []}, receive, send)
        assert app.held.total() == 0
        return int(sent[1]["status"])

    assert asyncio.run(story()) == 408


@pytest.mark.parametrize(
    ("host", "named", "asked", "allowed"),
    [
        ("127.0.0.1", None, "127.0.0.1:5001", True),
        ("127.0.0.1", None, "LOCALHOST", True),
        ("127.0.0.1", None, "[::1]:5001", True),
        ("127.0.0.1", None, "[::1].evil.example", False),
        ("127.0.0.1", None, "localhost:evil.example", False),
        ("127.0.0.1", None, "evil.example:5001", False),
        ("127.0.0.1", None, "", False),
        ("localhost", None, "evil.example", False),
        ("127.0.0.1", "models.example, b.example", "b.example", True),
        ("0.0.0.0", None, "models.example", True),
        ("0.0.0.0", "models.example", "evil.example", False),
    ],
)
def test_only_allowed_names_are_answered(host: str, named: str | None, asked: str, allowed: bool) -> None:
    status, body = knock(allowed_hosts(host, named), None, {b"host": asked.encode()})
    assert status == (200 if allowed else 421)
    assert allowed or "MELTPOINT_SERVE_HOSTS" in json.loads(body)["message"]


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/invocations", None, 401),
        ("/invocations", b"Bearer wrong", 401),
        ("/invocations", b"Bearer s\xe4cret", 401),
        ("/invocations", b"Bearer secret", 200),
        ("/metrics", None, 401),
        ("/health", None, 200),
    ],
)
def test_the_token_is_asked_for(path: str, sent: bytes | None, status: int) -> None:
    headers = {b"host": b"localhost"} | ({} if sent is None else {b"authorization": sent})
    assert knock(None, "secret", headers, path)[0] == status


def test_each_request_is_a_line_that_no_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    knock(None, None, {b"host": b"localhost"}, "/\x1b[2J\x9b")
    line = capsys.readouterr().err.strip()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["path"] == "/\x1b[2J\x9b"
    assert json.loads(line)["status"] == 200


def test_who_watches_the_server_is_a_line_only_where_the_answer_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    class Loading:
        status = 503

        async def __call__(self, scope: Message, receive: Any, send: guard.Send) -> None:
            await guard.refuse(send, self.status, "")

    app = Loading()
    door = Door(app, {"localhost"}, None, CollectorRegistry())
    for app.status in (503, 503, 200, 200, 503):
        knock_at(door, {b"host": b"localhost"}, "/ready")
    for _ in range(2):
        knock_at(door, {b"host": b"evil.example"}, "/ready")
        knock_at(door, {b"host": b"localhost"}, "/metrics")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["status"] for line in lines if line["path"] == "/ready"] == [503, 200, 503, 421, 421]
    assert len(lines) == 7


def test_who_waits_when_the_server_is_stopped_is_told_so() -> None:
    """What is cancelled would be a traceback for each in the log."""

    async def story() -> int:
        echo, sent = Echo(), []
        echo.gate = asyncio.Event()

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": []}
        task = asyncio.create_task(Door(echo, None, None, CollectorRegistry())(scope, receive, send))
        while not echo.sizes:
            await asyncio.sleep(0)
        task.cancel()
        await task
        return int(sent[0]["status"])

    assert asyncio.run(story()) == 503


def test_paths_that_do_not_exist_are_counted_together() -> None:
    registry = CollectorRegistry()
    door = Door(Echo(), None, "secret", registry)
    for number in range(9):
        knock_at(door, {}, f"/{number}")
    assert registry.get_sample_value("meltpoint_request_seconds_count", {"path": "other", "status": "401"}) == 9


def knock(hosts: Any, token: str | None, headers: dict[bytes, bytes], path: str = "/") -> tuple[int, bytes]:
    return knock_at(Door(Echo(), hosts, token, CollectorRegistry()), headers, path)


def knock_at(door: Door, headers: dict[bytes, bytes], path: str) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "client": ("127.0.0.1", 1), "headers": [*headers.items()]}
    asyncio.run(door(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("sent", [b"", b"POST /invo", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"])
def test_a_header_without_end_is_hung_up_on(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the second one of a connection."""
    monkeypatch.setattr(guard, "HEADER", 0.05)

    async def story(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await ended(reader)
        writer.close()

    listen(story)


def test_one_address_has_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "OF_ONE", 2)

    async def story(port: int) -> None:
        some = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ended(reader)
        some[0][1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" in await some[0][0].readline()
        for one in [writer, *(held for _, held in some)]:
            one.close()

    listen(story)


def test_one_that_asks_to_become_a_websocket_is_counted_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be forgotten, and its place never be free again."""
    monkeypatch.setattr(guard, "OF_ONE", 2)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YQ==\r\n"

    async def story(port: int) -> None:
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + upgrade + b"\r\n")
            assert b"200" in await reader.readline()
            writer.close()
            await writer.wait_closed()

    listen(story)


def test_a_body_comes_in_parts_of_some_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a million chunks of one byte costs as much as a kilobyte, and others wait meanwhile."""
    monkeypatch.setattr(guard, "PARTS", 50)
    start = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    echo = Echo()

    async def story(port: int) -> None:
        for body, status in ((b"1\r\na\r\n" * 51, b"400"), (b"64\r\n" + b"a" * 100 + b"\r\n", b"200")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start + body * 60 + b"0\r\n\r\n")
            assert status in await reader.readline()
            writer.close()

    listen(story, SizeLimit(echo, 100_000, 100_000, 100_000, 60))
    assert echo.sizes == [6000]


async def ended(reader: asyncio.StreamReader) -> None:
    try:
        async with asyncio.timeout(30):
            await reader.read()
    except ConnectionResetError:
        pass


def listen(story: Callable[[int], Awaitable[None]], app: guard.App | None = None) -> None:
    """The story with the port of a real server whose application echoes, or is another one."""

    async def run() -> None:
        config = guard.configure(app or Echo(), port=0, lifespan="off")
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        try:
            await story(server.servers[0].sockets[0].getsockname()[1])
        finally:
            await server.shutdown()

    asyncio.run(run())
