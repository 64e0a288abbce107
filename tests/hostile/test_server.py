"""Requests that are meant to harm a server: it answers with a sentence, and others go on being answered."""

import asyncio
import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from meltpoint.serving import guard
from meltpoint.serving.backend import Answer
from meltpoint.serving.http_server import Address, Service
from meltpoint.serving.request_limits import read_limits

SECTION = "A server"
JSON = {"Content-Type": "application/json", "Host": "localhost", "Authorization": "Bearer secret"}
ADDRESS = Address("127.0.0.1", 0, "secret", None)


class Model:
    """In place of the process that holds a model: it answers at once, and writes down what it was given."""

    ready = True

    def __init__(self) -> None:
        self.given: list[str] = []

    async def start(self) -> None:
        pass

    async def ended(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        pass

    async def ask(self, images: Sequence[str]) -> list[Answer]:
        self.given += images
        return [{"label": "cat", "error": None} for _ in images]


def bombs(*spell: Callable[[str], str]) -> bytes:
    """256 PNG of 49 million pixels each, of some kB, in these spellings by turns."""
    content = io.BytesIO()
    Image.new("1", (7000, 7000)).save(content, "PNG")
    text = base64.b64encode(content.getvalue()).decode()
    return json.dumps({"instances": [one(text) for one in spell] * (256 // len(spell))}).encode()


def for_addresses(text: str) -> str:
    return text.translate(str.maketrans("+/", "-_")).rstrip("=")


STALLED = "bodies that do not come to their end, until one address holds half of what all may"
Request = tuple[dict[str, str], bytes]
MAKERS: dict[str, Callable[[], Request]] = {
    "JSON nested 1,000 deep": lambda: (JSON, b"[" * 1_000),
    "JSON nested 100,000 deep": lambda: (JSON, b"[" * 100_000),
    "an integer of 100,000 digits": lambda: (JSON, b'{"instances": [' + b"7" * 100_000 + b"]}"),
    "a million rows in 3 MB, each of which would get an answer": lambda: (
        JSON,
        b'{"instances": [' + b'"",' * 1_000_000 + b'""]}',
    ),
    "images in two forms at once": lambda: (JSON, b'{"instances": ["a"], "dataframe_records": [{"image": "b"}]}'),
    STALLED: lambda: (JSON, b'{"instances": ["' + b"a" * 10_000 + b'"]}'),
    "a key that comes twice": lambda: (JSON, b'{"instances": ["a"], "instances": ["b"]}'),
    "no content type": lambda: ({**JSON, "Content-Type": ""}, b'{"instances": ["a"]}'),
    "a form instead of JSON": lambda: ({**JSON, "Content-Type": "application/x-www-form-urlencoded"}, b"a=b"),
    "a host that is not this machine's (DNS rebinding)": lambda: ({**JSON, "Host": "evil.example"}, b"{}"),
    "a wrong token, where one is asked for": lambda: ({**JSON, "Authorization": "Bearer x"}, b"{}"),
    "a length that is no number": lambda: ({**JSON, "Content-Length": "many"}, b"{}"),
    "two lengths": lambda: ({**JSON, "Content-Length": "2", "content-length": "3"}, b"{} "),
    "a length and chunks (request smuggling)": lambda: (
        {**JSON, "Content-Length": "5", "Transfer-Encoding": "chunked"},
        b"0\r\n\r\n",
    ),
    "a host that only begins like this machine's": lambda: ({**JSON, "Host": "[::1].evil.example"}, b"{}"),
    "256 images of 8 kB that unpack to 49 million pixels each": lambda: (JSON, bombs(str)),
    "the same, with spaces between the letters or in the alphabet for addresses": lambda: (
        JSON,
        bombs(" ".join, for_addresses),
    ),
}


def test_a_server(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    headers, body = MAKERS[row.name]()
    if row.name == STALLED:
        monkeypatch.setattr(guard, "HELD_OF_ONE", 3 * len(body))
    model, status, text = asyncio.run(send(headers, body, 4 if row.name == STALLED else 0))
    if row.fate == "answered":
        assert status == 200
        rows = json.loads(text)["predictions"]
        assert [one["error"] is None for one in rows] == [True] * 5 + [False] * 251
        assert len(model.given) == 5
        text = rows[-1]["error"]
    elif row.fate == "read":
        assert (status, model.given) == (200, ["b"])
    else:
        assert row.fate == "refused"
        assert 400 <= status < 500
        assert not model.given
    assert all(quote in text for quote in row.quotes), text


async def send(headers: dict[str, str], body: bytes, stalled: int = 0) -> tuple[Model, int, str]:
    """The model, and the status and the body of the answer of a real server.

    `stalled` requests like it have come before all but their last byte.
    """
    service, model = Service(Path(), read_limits({})), Model()
    service.backend = model  # type: ignore[assignment]
    app = service.build_app(ADDRESS)
    config = guard.configure(app, port=0)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = {"Content-Length": str(len(body)), "Connection": "close", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        request = f"POST /invocations HTTP/1.1\r\n{head}\r\n".encode() + body
        others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(stalled)]
        for _, other in others:
            other.write(request[:-1])
            await other.drain()
        while app.app.held.total() < 3 * (len(body) - 1) * bool(stalled):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        writer.write(request)
        async with asyncio.timeout(60):
            answer = await reader.read()
        for one in [writer, *(other for _, other in others)]:
            one.close()
    finally:
        await server.shutdown()
    start, _, rest = answer.partition(b"\r\n\r\n")
    return model, int(start.split()[1]), rest.decode()


def test_every_row_has_its_request(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
