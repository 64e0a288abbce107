"""The process that holds a model."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest
from saved_models import tree_folder  # noqa: F401 - a fixture

from meltpoint.serving.backend import SCRIPT, Backend, BackendError
from meltpoint.serving.worker import answer_lists, pack, unpack


def test_what_it_prints_steers_no_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(SCRIPT), str(tmp_path / "x\u202e"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert r"\u202e" in done.stderr
    assert "\u202e" not in done.stderr


@pytest.mark.parametrize("images", [[], [""], ["a", "", "\n\0[", "\ud800\u4e2d", "data:,aGk="]])
def test_texts_arrive_as_they_were(images: list[str]) -> None:
    assert unpack(pack(images)) == images


class Asked:
    """A backend without a process: `predict` answers in a thread."""

    def __init__(self) -> None:
        self.backend, self.both = Backend(Path()), Barrier(2)

    def predict(self, images: list[str]) -> list[dict[str, object]]:
        if "alone" not in images:
            self.both.wait(60)  # both are begun, or neither ends
        if "bad" in images:
            raise ValueError(images)
        return [{"said": image} for image in images]

    async def ask(self, *lists: list[str]) -> list[object]:
        ours, theirs = socket.socketpair()
        self.backend._streams = await asyncio.open_connection(sock=ours)
        thread = Thread(target=answer_lists, args=(self.predict, theirs))
        thread.start()
        answers = await asyncio.gather(*map(self.backend.ask, lists), return_exceptions=True)
        self.backend._streams[1].close()
        await asyncio.to_thread(thread.join, 60)
        assert not thread.is_alive()
        theirs.close()
        return [str(answer) if isinstance(answer, BackendError) else answer for answer in answers]


def test_two_lists_are_answered_at_once_each_with_its_own() -> None:
    said = asyncio.run(Asked().ask(["a", "b"], ["c"], ["d"], ["e", "f"]))
    assert said == [[{"said": name} for name in one] for one in ("ab", "c", "d", "ef")]


def test_a_list_that_fails_fails_alone() -> None:
    said = asyncio.run(Asked().ask(["alone", "bad"], ["alone"]))
    assert said == ["The model failed: ValueError: ['alone', 'bad']", [{"said": "alone"}]]


def test_all_who_wait_are_told_when_the_process_ends() -> None:
    async def story() -> list[object]:
        backend, (ours, theirs) = Backend(Path()), socket.socketpair()
        backend._streams = await asyncio.open_connection(sock=ours)
        asked = [asyncio.create_task(backend.ask([name])) for name in "abc"]
        await asyncio.sleep(0)
        theirs.close()
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert [type(one) for one in asyncio.run(story())] == [BackendError] * 3


def test_a_server_that_ends_while_the_model_is_loaded_leaves_no_traceback(
    tree_folder: Path,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def leave() -> None:
        backend = Backend(tree_folder)
        starting = asyncio.create_task(backend.start())
        while backend._streams is None:
            await asyncio.sleep(0.01)
        starting.cancel()
        await backend.stop()

    asyncio.run(leave())
    assert capfd.readouterr() == ("", "")
