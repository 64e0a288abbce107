"""The server of a registered model: requests in, answers out, health and numbers for what watches it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from meltpoint.errors import UserError
from meltpoint.listening import listen, url_of
from meltpoint.memory import keep_freed_memory
from meltpoint.serving import guard
from meltpoint.serving.backend import Answer, Backend, BackendError
from meltpoint.serving.request_body import RequestError, admit, read_images
from meltpoint.serving.request_limits import Limits
from meltpoint.serving.turns import Turns
from meltpoint.serving.worker import LISTS
from meltpoint.terminal import say

TOGETHER = 32  # images of a list that goes to the model
GRACE = 30  # seconds that requests have to end when the server is stopped
WAITING = 8  # times the pixels of one request: how many may wait for the model
GONE = 499  # the status of a request whose sender has left, as nginx writes it down


@dataclass(frozen=True)
class Address:
    """Where a server listens, and for whom.

    `token` None: none is asked for. `hosts`: further names under which it may be asked, with commas.
    """

    host: str
    port: int
    token: str | None
    hosts: str | None


class ServeError(UserError, RuntimeError):
    """A model cannot be served."""


class Service:
    """A model behind HTTP. `failed`: why it could not be loaded, after which `give_up` is called."""

    def __init__(self, package: Path, limits: Limits) -> None:
        self.limits, self.backend = limits, Backend(package)
        self.turns = Turns(self._ask, min(TOGETHER, limits.rows), limits.megapixels)
        self.failed: str | None = None
        self.give_up: Callable[[], None] = lambda: None
        self.registry = CollectorRegistry()
        self.images = Counter("meltpoint_images", "Images that were asked about", ["outcome"], registry=self.registry)
        self.together = Histogram(
            "meltpoint_batch_images", "Images that went to the model at once", registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )  # fmt: skip

    def build_app(self, address: Address) -> guard.App:
        """The application with all that stands before it."""
        routes = [
            Route("/invocations", self.answer, methods=["POST"]),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/ping", self.ready),  # as MLflow's servers call it
            Route("/metrics", self.metrics),
        ]
        app = Starlette(routes=routes, lifespan=self._live)
        limited = guard.SizeLimit(app, guard.REQUEST, guard.HELD, guard.HELD_OF_ONE, guard.BODY)
        return guard.Door(limited, guard.allowed_hosts(address.host, address.hosts), address.token, self.registry)

    async def answer(self, request: Request) -> Response:
        """POST /invocations: a row for each image, in order."""
        if not self.backend.ready:
            return _say(503, "The model is not loaded yet. Ask /ready, and send it again.")
        body = await request.body()
        try:
            content_type = request.headers.get("content-type", "")
            images = await asyncio.to_thread(read_images, body, content_type, self.limits.rows)
        except RequestError as error:
            return _say(400, str(error))
        rows, answers = await asyncio.to_thread(admit, images, self.limits)
        wanted = self.turns.megapixels_waiting + sum(row.megapixels for row in rows)
        if wanted > WAITING * self.limits.request_megapixels:
            return _say(503, f"Busy: {wanted:,.0f} million pixels wait for the model. Send it again a little later.")
        working = asyncio.create_task(self.turns.answer(rows))
        leaving = asyncio.create_task(_left(request))
        try:
            await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return Response(status_code=GONE)
            answers |= working.result()
        except BackendError as error:
            return _say(500, str(error))
        finally:
            working.cancel()
            leaving.cancel()
        columns = dict.fromkeys(column for answer in answers.values() for column in answer)
        said = [{**columns, **answers[place]} for place in range(len(images))]
        failed = sum(answer["error"] is not None for answer in said)
        self.images.labels("answered").inc(len(said) - failed)
        self.images.labels("error").inc(failed)
        request.scope["counts"] = {"images": len(said), "errors": failed}
        return JSONResponse({"predictions": said})

    async def health(self, _: Request) -> Response:
        """GET /health: whether the server is there at all."""
        return PlainTextResponse("there\n")

    async def ready(self, _: Request) -> Response:
        """GET /ready: whether the model can be asked."""
        ready = self.backend.ready
        return PlainTextResponse("ready\n" if ready else "loading\n", status_code=200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        """GET /metrics: counts and times, as Prometheus reads them."""
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _ask(self, images: Sequence[str]) -> list[Answer]:
        self.together.observe(len(images))
        return await self.backend.ask(images)

    @asynccontextmanager
    async def _live(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._keep()), *(asyncio.create_task(self.turns.run()) for _ in range(LISTS))]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self.backend.stop()

    async def _keep(self) -> None:
        """Start the model, and again whenever its process ends."""
        try:
            while True:
                await self.backend.start()
                await self.backend.ended()
        except BackendError as error:
            self.failed = str(error)
            self.give_up()


def serve(package: Path, address: Address, limits: Limits, name: str) -> None:
    """Serve the MLflow model, model folder or export in `package`, which people know as `name`, until a signal comes.

    Raises:
        ListenError: the address cannot be had.
        ServeError: the model could not be loaded.
    """
    keep_freed_memory()
    service = Service(package, limits)
    app = service.build_app(address)
    server = uvicorn.Server(guard.configure(app, timeout_graceful_shutdown=GRACE))
    service.give_up = lambda: setattr(server, "should_exit", True)
    with listen(address.host, address.port) as bound:
        say(f"{name} answers at {url_of(bound)}/invocations (Ctrl-C ends it)")
        server.run(sockets=[bound])
    if service.failed is not None:
        raise ServeError(f"The model could not be loaded from {package}: {service.failed} Its reason is printed above.")


async def _left(request: Request) -> None:
    """Return when the sender of a request is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _say(status: int, why: str) -> Response:
    return JSONResponse({"error_code": "BAD_REQUEST" if status == 400 else "UNAVAILABLE", "message": why}, status)
