"""The script that serves a model: MLflow's own server, behind a limit on what one request and all together may hold.

Nothing imports it, and it imports nothing of this package: the one that travels with the model has to come first. What
it prints passes `terminal.py`, which it runs as a script.
`python -P http_server.py MODEL HOST PORT` is how `meltpoint serve` starts it.
"""

import json
import os
import runpy
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

REQUEST = 128_000_000  # bytes of one request's body
HELD = 4 * REQUEST  # bytes of all bodies that wait for their answer
CONNECTIONS = 512  # at once; more are refused
PASSED = 8  # times REQUEST: how much of a body that is refused is read away, so that its sender reads the answer


class SizeLimit:
    """An ASGI application that reads a body before another one sees it, and refuses what is too large."""

    def __init__(self, app: App, request: int, held: int) -> None:
        self.app, self.request, self.most_held = app, request, held
        self.held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = bytearray()
        try:
            refused = await self._read(scope, receive, body)
            if refused is None:
                waiting = [bytes(body)]

                async def again() -> Message:  # the body that has been read, and then what comes after it
                    if not waiting:
                        return await receive()
                    return {"type": "http.request", "body": waiting.pop(), "more_body": False}

                await self.app(scope, again, send)
            else:
                await _refuse(send, *refused)
        finally:
            self.held -= len(body)

    async def _read(self, scope: Message, receive: Receive, body: bytearray) -> tuple[int, str] | None:
        """Read the body of a request into `body`, or say with which status and why it is refused."""
        declared = int(dict(scope["headers"]).get(b"content-length", b"0") or 0)
        passed, refused = 0, self._judge(declared, 0)
        while True:
            message = await receive()
            part = message.get("body", b"")
            refused = refused or self._judge(len(body), len(part))
            if refused is None:
                body += part
                self.held += len(part)
            passed += len(part)
            if not message.get("more_body", False) or passed > PASSED * self.request:
                return refused

    def _judge(self, size: int, more: int) -> tuple[int, str] | None:
        if size + more > self.request:
            came = f"The request is too large: over {size + more:,} bytes came, {self.request:,} are allowed."
            return 413, f"{came} Send fewer or smaller images in one request."
        if self.held + more > self.most_held:
            return 503, f"Busy: requests of {self.held:,} bytes wait for their answers. Send it again a little later."
        return None


async def _refuse(send: Send, status: int, why: str) -> None:
    content = json.dumps({"error_code": "RESOURCE_EXHAUSTED", "message": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def main(model: str, host: str, port: str) -> None:
    """Serve the MLflow model in the folder `model`, until Ctrl-C."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import uvicorn
    from mlflow.pyfunc import scoring_server

    loaded = scoring_server.load_model_with_mlflow_config(model)  # type: ignore[no-untyped-call]
    limited = SizeLimit(scoring_server.init(loaded), REQUEST, HELD)
    uvicorn.run(limited, host=host, port=int(port), limit_concurrency=CONNECTIONS, log_level="warning")


if __name__ == "__main__":
    terminal = runpy.run_path(str(Path(__file__).parents[1] / "terminal.py"))
    with terminal["visible_output"]():  # requests and libraries may bring what steers a terminal
        main(*sys.argv[1:])
