"""Images go to the model in turn, together, within their bounds, and only while somebody waits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from meltpoint.serving.backend import Answer, BackendError
from meltpoint.serving.turns import Row, Turns


class Model:
    """Answers with the image itself, once it is let go; writes down what it was given."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, images: Sequence[str]) -> list[Answer]:
        self.given.append(list(images))
        await self.gate.wait()
        if "bad" in images:
            raise BackendError("it failed")
        return [{"said": image} for image in images]


def rows(*images: str, megapixels: float = 1.0) -> list[Row]:
    return [Row(place, image, megapixels) for place, image in enumerate(images)]


def tell(
    story: Callable[[Model, Turns], Awaitable[Any]], at_once: int = 4, megapixels: float = 100, lists: int = 1
) -> Model:
    """The story while so many lists are under way; what the model was given."""

    async def run() -> Model:
        model = Model()
        turns = Turns(model.ask, at_once, megapixels)
        running = [asyncio.create_task(turns.run()) for _ in range(lists)]
        await story(model, turns)
        for one in running:
            one.cancel()
        return model

    return asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


def test_answers_come_to_their_places() -> None:
    async def story(_: Model, turns: Turns) -> None:
        assert await turns.answer([Row(7, "b", 1), Row(3, "a", 1)]) == {7: {"said": "b"}, 3: {"said": "a"}}
        assert await turns.answer([]) == {}

    assert tell(story).given == [["b", "a"]]


def test_a_large_request_does_not_make_small_ones_wait() -> None:
    async def story(model: Model, turns: Turns) -> None:
        model.gate.clear()
        large = asyncio.create_task(turns.answer(rows(*"abcdefghijkl")))
        await until(lambda: len(model.given) == 1)
        small = [asyncio.create_task(turns.answer(rows(name))) for name in "XY"]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(large, *small)
        assert [answer["said"] for _, answer in sorted((await large).items())] == list("abcdefghijkl")

    assert tell(story).given == [list("abcd"), ["e", "X", "Y", "f"], list("ghij"), list("kl")]


def test_pixels_at_once_are_bounded_and_a_larger_image_goes_alone() -> None:
    async def story(_: Model, turns: Turns) -> None:
        await turns.answer([Row(0, "a", 30), Row(1, "b", 20), Row(2, "c", 1), Row(3, "d", 60), Row(4, "e", 1)])

    assert tell(story, megapixels=50).given == [["a", "b"], ["c"], ["d"], ["e"]]


def test_a_second_list_goes_while_the_first_is_worked_on_and_their_pixels_are_bounded_together() -> None:
    async def story(model: Model, turns: Turns) -> None:
        model.gate.clear()
        asked = asyncio.create_task(turns.answer([Row(0, "a", 30), Row(1, "b", 15), Row(2, "c", 10), Row(3, "d", 60)]))
        small = asyncio.create_task(turns.answer([Row(0, "x", 5), Row(1, "y", 5)]))
        await until(lambda: len(model.given) == 2)
        for _ in range(9):
            await asyncio.sleep(0)
        assert model.given == [["a", "x"], ["b"]], "b and y would be 55 million pixels with a and x"
        model.gate.set()
        assert [answer["said"] for _, answer in sorted((await asked).items())] == list("abcd")
        await small

    given = tell(story, at_once=2, megapixels=50, lists=2).given
    assert sorted(name for one in given for name in one) == list("abcdxy")
    assert ["d"] in given, "one larger than all that may be worked on goes alone"


def test_what_nobody_waits_for_is_not_done() -> None:
    async def story(model: Model, turns: Turns) -> None:
        model.gate.clear()
        gone = asyncio.create_task(turns.answer(rows(*"abcdefgh")))
        await until(lambda: len(model.given) == 1)
        assert turns.megapixels_waiting == 4
        gone.cancel()
        await asyncio.wait([gone])
        assert turns.megapixels_waiting == 0
        model.gate.set()
        assert await turns.answer(rows("z")) == {0: {"said": "z"}}

    assert tell(story).given == [list("abcd"), ["z"]]


def test_a_model_that_fails_fails_those_it_was_asked_for_and_goes_on() -> None:
    async def story(_: Model, turns: Turns) -> None:
        both = await asyncio.gather(
            turns.answer(rows("a", "bad", "c", "d", "e")), turns.answer(rows("x")), return_exceptions=True
        )
        assert [type(one) for one in both] == [BackendError, BackendError]
        assert await turns.answer(rows("z")) == {0: {"said": "z"}}

    assert tell(story).given == [["a", "x", "bad", "c"], ["z"]]
