"""Images of all requests on their way to the model: in turn and together, and only while somebody waits for them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from meltpoint.serving.backend import Answer, BackendError

Ask = Callable[[Sequence[str]], Awaitable[list[Answer]]]


@dataclass(frozen=True)
class Row:
    """The base64 text of an image, its place in its request, and its 10**6 pixels, as far as its header tells."""

    place: int
    image: str
    megapixels: float


@dataclass(eq=False)
class _Request:
    rows: deque[Row]
    done: asyncio.Future[None]
    answers: dict[int, Answer] = field(default_factory=dict)
    count: int = 0


class Turns:
    """Hands images to the model, from each request one in its turn: a large one does not make small ones wait.

    A list has at most `rows` images. As many lists are under way as `run` is: where it is twice, one is decoded while
    the model runs on the other. They have `megapixels` together (in units of 10**6 pixels), or one larger image alone.
    """

    def __init__(self, ask: Ask, rows: int, megapixels: float) -> None:
        self.ask, self.rows, self.megapixels = ask, rows, megapixels
        self._waiting: deque[_Request] = deque()
        self._under_way: list[float] = []  # megapixels of each list
        self._changed = asyncio.Event()

    @property
    def megapixels_waiting(self) -> float:
        """Of all images that the model has not been given."""
        return sum(row.megapixels for request in self._waiting for row in request.rows)

    async def answer(self, rows: Sequence[Row]) -> dict[int, Answer]:
        """What the model says, by place; who is cancelled takes what is not begun away.

        Raises:
            BackendError: the model failed.
        """
        if not rows:
            return {}
        request = _Request(deque(rows), asyncio.get_running_loop().create_future(), count=len(rows))
        self._waiting.append(request)
        self._changed.set()
        try:
            await request.done
        finally:
            if request in self._waiting:
                self._waiting.remove(request)
        return request.answers

    async def run(self) -> None:
        """Answer what comes, for ever."""
        while True:
            while not (batch := self._take()):
                self._changed.clear()
                await self._changed.wait()
            megapixels = sum(row.megapixels for _, row in batch)
            self._under_way.append(megapixels)
            try:
                answers = await self.ask([row.image for _, row in batch])
            except BackendError as error:
                for request, _ in batch:
                    if request in self._waiting:
                        self._waiting.remove(request)
                    if not request.done.done():
                        request.done.set_exception(error)
                continue
            finally:
                self._under_way.remove(megapixels)
                self._changed.set()
            for (request, row), answer in zip(batch, answers, strict=True):
                request.answers[row.place] = answer
                if len(request.answers) == request.count and not request.done.done():
                    request.done.set_result(None)

    def _take(self) -> list[tuple[_Request, Row]]:
        """The next images, one of each request in turn."""
        batch: list[tuple[_Request, Row]] = []
        megapixels = sum(self._under_way)
        while self._waiting and len(batch) < self.rows:
            request = self._waiting[0]
            megapixels += request.rows[0].megapixels
            if (batch or self._under_way) and megapixels > self.megapixels:
                break
            batch.append((request, request.rows.popleft()))
            self._waiting.rotate(-1)
            if not request.rows:
                self._waiting.pop()
        return batch
