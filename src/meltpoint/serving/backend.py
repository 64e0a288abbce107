"""The process that holds the model, as its server sees it: started, asked, started again if it dies."""

import asyncio
import json
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from meltpoint.serving.worker import LENGTH, frame_message, pack

SCRIPT = Path(__file__).with_name("worker.py")
PART = 2**17  # bytes that are written at once, of which a socket takes most

Answer = dict[str, Any]  # a row of what the model says of an image, by column
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class BackendError(RuntimeError):
    """The model's process has no answer."""


class Backend:
    """One model in a process of its own; it answers lists of images in the order in which it is asked.

    Attributes: `ready`, whether it has been loaded and is there.
    """

    def __init__(self, package: Path) -> None:
        self.package, self.ready = package, False
        self._process: Process | None = None
        self._streams: Streams | None = None
        self._sends, self._next = asyncio.Lock(), asyncio.Lock()  # whose list goes, and whose answer comes, in turn

    async def start(self) -> None:
        """Start the process, and wait until the model is loaded.

        Raises:
            BackendError: it ended before that; it has printed why.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-B", str(SCRIPT), str(self.package), str(theirs.fileno())]
        self._process = await asyncio.create_subprocess_exec(*command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._streams = await asyncio.open_connection(sock=ours)
        await self._read(self._streams)
        self.ready = True

    async def ask(self, images: Sequence[str]) -> list[Answer]:
        """A row for each image, in order; another list may be asked about meanwhile.

        Raises:
            BackendError: the model failed, or its process is gone.
        """
        assert self._streams is not None
        streams = self._streams  # of this process: it may end, and another one be started, before the answer
        async with self._sends:
            await self._write(streams[1], frame_message(pack(images)))
        async with self._next:
            answer = await self._read(streams)
        if "error" in answer:
            raise BackendError(f"The model failed: {answer['error']}")
        return cast(list[Answer], answer["rows"])

    async def ended(self) -> None:
        """Return when the process is gone."""
        assert self._process is not None
        await self._process.wait()
        self.ready = False

    async def stop(self) -> None:
        """End the process; one that still loads the model has nobody to answer."""
        loading, self.ready = not self.ready, False
        if self._streams is not None:
            self._streams[1].close()
        if self._process is not None:
            if loading and self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    async def _write(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        """In parts: what waits in a writer is moved each time that some of it goes out."""
        view = memoryview(message)
        for start in range(0, len(view), PART):
            writer.write(view[start : start + PART])
            with suppress(ConnectionError):  # then there is no answer either
                await writer.drain()

    async def _read(self, streams: Streams) -> dict[str, Any]:
        reader, writer = streams
        try:
            length = int.from_bytes(await reader.readexactly(LENGTH))
            return cast(dict[str, Any], json.loads(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ready = self.ready and streams is not self._streams
            writer.close()
            raise BackendError("the process that holds the model has ended.") from None
