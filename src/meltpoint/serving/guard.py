"""What stands before a served model: who may ask, from where, how long and how much; and what is written down of it."""

import asyncio
import hmac
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import h11
import uvicorn
from prometheus_client import CollectorRegistry, Histogram
from uvicorn.protocols.http.h11_impl import H11Protocol

from meltpoint.listening import is_local
from meltpoint.terminal import complain

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

REQUEST = 128_000_000  # bytes of one request's body
HELD, HELD_OF_ONE = 4 * REQUEST, 2 * REQUEST  # bytes of all bodies that wait for their answer, and of one address
PASSED = 8  # times REQUEST: how much of a body that is refused is read away, so that its sender reads the answer
CONNECTIONS, OF_ONE = 512, 256  # at once, and of one address; more are refused
PARTS, PART = 10_000, 100  # of a body: so many parts, and one more for each so many bytes; each costs as much as a kB
HEADER, BODY, IDLE = 10.0, 60.0, 30  # seconds for a request's header, for its body, and between two of a connection
LOCAL = ("localhost", "127.0.0.1", "::1")
OPEN = ("/health", "/ready", "/ping")  # asked by what watches the server, without a token
NAME = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]*)(:\d*)?")  # of a host, and its port
PATHS = (*OPEN, "/metrics", "/invocations")


class _Counted(h11.Connection):
    """HTTP whose bodies come in parts of some size: a million chunks of a byte would hold up everybody else."""

    _parts = _bytes = 0

    def next_event(self) -> Any:
        """As h11 has it.

        Raises:
            h11.RemoteProtocolError: also for a body in too many parts.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._parts = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._parts, self._bytes = self._parts + 1, self._bytes + len(event.data)
            if self._parts > PARTS + self._bytes // PART:
                raise h11.RemoteProtocolError("too many parts")
        return event


class TimedProtocol(H11Protocol):
    """A connection that is closed if a header does not come to its end, and refused if its sender has many already."""

    _counts: Counter[str] = Counter()  # noqa: RUF012 - of all connections: uvicorn makes one object for each
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a header."""
        super().connection_made(transport)
        self.conn = _Counted(h11.SERVER)
        self._address = self.client[0] if self.client else ""
        self._counts[self._address] += 1
        if self._counts[self._address] > OF_ONE:
            transport.abort()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on, or no longer."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the rest of a header that has begun to come meanwhile."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] and self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        self._counts[self._address] -= 1
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEADER, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class Door:
    """An ASGI application that lets in who asks under an allowed name and with the token, and writes down each request.

    What watches the server asks OPEN again and again: an answer to that is written down if it is not the one before.

    A page in a browser can send requests to this machine under a name of its own (DNS rebinding), but it cannot choose
    the header Host. `hosts`: allowed names, lower case, without port; None: any. `token`: None: none is asked for.
    """

    def __init__(self, app: App, hosts: Collection[str] | None, token: str | None, registry: CollectorRegistry) -> None:
        self.app, self.hosts, self.token = app, hosts, token
        self._said: dict[str, int] = {}  # the last status of each path in OPEN
        self.seconds = Histogram(
            "meltpoint_request_seconds", "Seconds that requests took", ["path", "status"], registry=registry
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def observed(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            if (refused := self._judge(scope)) is not None:
                await refuse(observed, *refused)
            else:
                await self.app(scope, receive, observed)
        except asyncio.CancelledError:  # by uvicorn, when its grace is over
            if not status:
                await refuse(observed, 503, "The server was stopped before the answer was there. Send it again.")
        finally:
            spent = time.perf_counter() - begun
            path = scope["path"] if scope["path"] in PATHS else "other"  # each one that is counted takes memory
            self.seconds.labels(path, status).observe(spent)
            client = scope["client"][0] if scope.get("client") else None
            line = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "client": client,
                "method": scope["method"][:20], "path": scope["path"][:200], "status": status or "gone",
                "seconds": round(spent, 4), **scope.get("counts", {}),
            }  # fmt: skip
            watched = path in OPEN and status in (200, 503)
            if not watched or self._said.get(path) != status:
                complain(json.dumps(line))  # on standard error
            if watched:
                self._said[path] = status

    def _judge(self, scope: Message) -> tuple[int, str] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if b"content-length" in headers and b"transfer-encoding" in headers:  # RFC 9112, 6.1
            return (
                400,
                "The request says in two ways how long it is, and a proxy may have read the other. Send one.",
            )
        host = headers.get(b"host", "")
        if self.hosts is not None and _name_of(host) not in self.hosts:
            return 421, (
                f"This server does not answer for the host {host[:100]!r}, but for {', '.join(sorted(self.hosts))}. Ask"
                " it under one of these names, or start it with MELTPOINT_SERVE_HOSTS=NAME,NAME."
            )
        if self.token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
                return 401, "The token is wrong or missing. Send it in the header: Authorization: Bearer TOKEN"
        return None


class SizeLimit:
    """An ASGI application that reads a body before another one sees it, and refuses what is too large or too slow."""

    def __init__(self, app: App, request: int, held: int, of_one: int, seconds: float) -> None:
        self.app, self.request, self.most_held, self.most_of_one, self.seconds = app, request, held, of_one, seconds
        self.held: Counter[str] = Counter()  # bytes by address

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, address = bytearray(), scope["client"][0] if scope.get("client") else ""
        try:
            try:
                async with asyncio.timeout(self.seconds):
                    refused = await self._read(scope, receive, body, address)
            except TimeoutError:
                refused = 408, f"The request did not come to its end in {self.seconds:g} seconds. Send it again."
            if refused is None:
                waiting = [bytes(body)]

                async def again() -> Message:  # the body that has been read, and then what comes after it
                    if not waiting:
                        return await receive()
                    return {"type": "http.request", "body": waiting.pop(), "more_body": False}

                await self.app(scope, again, send)
            else:
                await refuse(send, *refused)
        finally:
            self.held[address] -= len(body)
            self.held += Counter()  # forgets who holds nothing

    async def _read(self, scope: Message, receive: Receive, body: bytearray, address: str) -> tuple[int, str] | None:
        """Read the body of a request into `body`, or say with which status and why it is refused."""
        declared = int(dict(scope["headers"]).get(b"content-length", b"0") or 0)
        passed, refused = 0, self._judge(declared, 0, address)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, "The connection was closed before the request came to its end."
            part = message.get("body", b"")
            refused = refused or self._judge(len(body), len(part), address)
            if refused is None:
                body += part
                self.held[address] += len(part)
            else:  # what came of it is not held while the rest is read away
                self.held[address] -= len(body)
                body.clear()
            passed += len(part)
            if not message.get("more_body", False) or passed > PASSED * self.request:
                return refused

    def _judge(self, size: int, more: int, address: str) -> tuple[int, str] | None:
        if size + more > self.request:
            came = f"The request is too large: over {size + more:,} bytes came, {self.request:,} are allowed."
            return 413, f"{came} Send fewer or smaller images in one request."
        busy = "Busy: requests of {:,} bytes{} wait for their answers. Send it again a little later."
        if self.held[address] + more > self.most_of_one:  # or a few that do not end would keep out everybody else
            return 429, busy.format(self.held[address], " from one address")
        if self.held.total() + more > self.most_held:
            return 503, busy.format(self.held.total(), "")
        return None


def configure(app: App, **further: Any) -> uvicorn.Config:
    """A server of HTTP alone, whose connections are counted and timed: what becomes a WebSocket is lost to that."""
    return uvicorn.Config(
        app, http=TimedProtocol, ws="none", limit_concurrency=CONNECTIONS, log_level="warning",
        timeout_keep_alive=IDLE, access_log=False, server_header=False, **further,
    )  # fmt: skip


async def refuse(send: Send, status: int, why: str) -> None:
    """Answer with a status and a sentence."""
    code = "RESOURCE_EXHAUSTED" if status in (413, 429, 503) else "BAD_REQUEST"
    content = json.dumps({"error_code": code, "message": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if status == 400:  # what else the connection holds may be anything
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def allowed_hosts(host: str, named: str | None) -> Collection[str] | None:
    """Names under which a server on the address `host` answers; `named`: those of the environment, with commas.

    On an address of this machine alone they are its own names; on others any, unless some are named.
    """
    if named:
        return {name.strip().lower() for name in named.split(",") if name.strip()} | set(LOCAL)
    return {*LOCAL, host.lower()} if is_local(host) else None


def _name_of(host: str) -> str:
    """`name:80`, `[::1]:80` and `name` without the port; nothing, if it is none of these."""
    found = NAME.fullmatch(host.strip().lower())
    return found[1].strip("[]") if found else ""
