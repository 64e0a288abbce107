"""The page behind an address of this machine: nothing is asked of another one, and no other one is answered for."""

import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import uvicorn

from meltpoint.errors import UserError
from meltpoint.listening import is_local, listen, url_of
from meltpoint.page.shelf import Shelf
from meltpoint.terminal import say

LOCAL = ["localhost", "127.0.0.1", "::1", "[::1]"]
LARGEST = "64mb"  # of one file that is sent
WAITING = 32  # questions that wait for the model; more are told that it is busy
LETTERS, MONOSPACED = ["system-ui", "Segoe UI", "Roboto", "sans-serif"], ["ui-monospace", "monospace"]  # of the system
SETTINGS = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
# The browser itself keeps to this machine: whatever a part of the page asks for elsewhere, it is refused.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:;"
    " connect-src 'self' data: blob:; frame-ancestors 'none'; form-action 'self'"
)


class PageError(UserError, RuntimeError):
    """The page cannot be shown."""


@dataclass(frozen=True)
class Address:
    """Where the page listens; `password` is asked for where others than this machine may ask."""

    host: str
    port: int
    password: str | None


def check_address(address: Address) -> None:
    """Whether the page may listen there.

    Raises:
        PageError: others than this machine could ask, and no password is set.
    """
    if not is_local(address.host) and not address.password:
        raise PageError(
            f"On {address.host} everybody who reaches this machine could send pictures and read answers. Leave out"
            " --host: the page is then on 127.0.0.1, for this machine alone. Or set MELTPOINT_APP_PASSWORD, which the"
            " page then asks for (the user is meltpoint), and put a server with TLS in front of it."
        )


def serve_page(shelf: Shelf, address: Address) -> None:
    """Serve the page until a signal comes; what was sent and made is deleted at the end, and after an hour.

    Raises:
        PageError: the page may not listen there (see `check_address`).
        ListenError: the address cannot be had.
    """
    check_address(address)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or the folder would outlive the page
    with listen(address.host, address.port) as bound, tempfile.TemporaryDirectory(prefix="meltpoint-page-") as folder:
        app = build_app(shelf, address, Path(folder))
        say(f"The page is at {url_of(bound)} (Ctrl-C ends it)")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        uvicorn.Server(config).run(sockets=[bound])


def build_app(shelf: Shelf, address: Address, folder: Path) -> Any:
    """The application; all that it keeps of pictures is below `folder`."""
    os.environ.update({**SETTINGS, "GRADIO_TEMP_DIR": str(folder)})  # Gradio reads them when it is imported
    import gradio as gr
    from fastapi import FastAPI
    from gradio import processing_utils
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from meltpoint.page.layout import KEPT, Page

    def room() -> Path:
        """A new folder; those that are older than an hour are deleted."""
        for old in folder.glob("made-*"):
            if time.time() - old.stat().st_mtime > KEPT:
                rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix="made-", dir=folder))

    async def refuse(url: str, cache_dir: str) -> str:  # noqa: ARG001 - Gradio's words
        raise gr.Error(f"{url[:100]!r} is an address. The page asks nothing of it: send the picture itself.")

    processing_utils.async_ssrf_protected_download = refuse  # it would fetch what a request names
    page = Page(shelf, room).build()
    page.has_launched = True  # which mounting leaves out, and without it Gradio reads any path that a request names
    page.queue(max_size=WAITING, api_open=False)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app = gr.mount_gradio_app(
        app, page, path="/", ssr_mode=False, mcp_server=False, pwa=False, run_history=False, enable_monitoring=False,
        footer_links=[], show_error=True, max_file_size=LARGEST, css_paths=Path(__file__).with_name("page.css"),
        js=Path(__file__).with_name("page.js").read_text(encoding="utf-8"),
        theme=gr.themes.Soft(primary_hue="blue", neutral_hue="slate", font=LETTERS, font_mono=MONOSPACED),
        auth=("meltpoint", address.password) if address.password else None,
    )  # fmt: skip
    app.add_middleware(Policy)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOCAL if is_local(address.host) else ["*"])
    return app


class Policy:
    """An ASGI application that tells the browser to ask this machine alone."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""

        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, told)
