"""The process that holds a served model: it answers lists of base64 images that come over a socket.

Run as a script it imports nothing of this package by itself: that of an MLflow model has to come first. What it
prints passes `terminal.py`, which it runs as a script, like `memory.py`. It ends when its socket is closed, and on no
signal: the server sees to that.
"""

import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import cast

LENGTH = 8  # bytes before each message that say how long it is; an answer is JSON
LISTS = 2  # of images at once: those of one are decoded while the model runs on those of the other


def main(package: str, descriptor: str) -> None:
    """Load the model in the folder `package`, say so, and answer on the open socket `descriptor`."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    predict = open_model(Path(package))
    with socket.socket(fileno=int(descriptor)) as channel, suppress(ConnectionError):  # the server may have ended
        channel.sendall(frame_message(b"{}"))
        answer_lists(predict, channel)


def open_model(folder: Path) -> Callable[[list[str]], list[dict[str, object]]]:
    """What answers lists of images: an MLflow model with the code that travels with it, or a model folder or export."""
    import pandas as pd

    if (folder / "MLmodel").is_file():
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.pyfunc import load_model

        packed = load_model(str(folder))

        def ask(images: list[str]) -> pd.DataFrame:
            return cast(pd.DataFrame, packed.predict(pd.DataFrame({"image": images}, dtype=object)))
    else:
        from meltpoint.serving.request_limits import read_limits
        from meltpoint.serving.responses import answer
        from meltpoint.tasks.exported import open_any

        answerer, limits = open_any(folder), read_limits(os.environ)

        def ask(images: list[str]) -> pd.DataFrame:
            return answer(answerer, images, limits)

    def predict(images: list[str]) -> list[dict[str, object]]:
        frame = ask(images)
        return cast(list[dict[str, object]], frame.astype(object).where(frame.notna(), None).to_dict("records"))

    return predict


def answer_lists(predict: Callable[[list[str]], list[dict[str, object]]], channel: socket.socket) -> None:
    """Send rows for each list of images that comes over `channel`, in order, until it is closed; LISTS at once."""

    def answer(content: bytes) -> bytes:
        try:
            said: dict[str, object] = {"rows": predict(unpack(content))}
            return frame_message(json.dumps(said, default=lambda value: value.item()).encode())
        except Exception as error:  # noqa: BLE001 - the server says it to who asked
            return frame_message(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())

    def send(answered: Future[bytes]) -> None:
        channel.sendall(answered.result())

    with (
        suppress(ConnectionError),
        channel.makefile("rb") as incoming,
        ThreadPoolExecutor(LISTS) as answering,
        ThreadPoolExecutor(1) as sending,  # one thread: answers leave in the order in which lists came
    ):
        while length := incoming.read(LENGTH):
            sending.submit(send, answering.submit(answer, incoming.read(int.from_bytes(length))))


def frame_message(content: bytes) -> bytes:
    """A message as it goes over the socket."""
    return len(content).to_bytes(LENGTH) + content


def pack(images: Sequence[str]) -> bytes:
    """Texts of images as a message: how many bytes each has, in a line of JSON, and then all of them.

    One JSON of them all would be looked through letter by letter, twice, which takes as long as a tenth of the model.
    """
    parts = [image.encode() if image.isascii() else image.encode(errors="surrogatepass") for image in images]
    return json.dumps([len(part) for part in parts]).encode() + b"\n" + b"".join(parts)


def unpack(content: bytes) -> list[str]:
    """What `pack` was given."""
    lengths, start = json.loads(content[: content.index(b"\n")]), content.index(b"\n") + 1
    images = []
    for length in lengths:
        images.append(content[start : start + length].decode(errors="surrogatepass"))
        start += length
    return images


if __name__ == "__main__":
    room = Path(__file__).parents[1]
    terminal, memory = (runpy.run_path(str(room / name)) for name in ("terminal.py", "memory.py"))
    memory["keep_freed_memory"]()
    with terminal["visible_output"]():  # images and libraries may bring what steers a terminal
        main(*sys.argv[1:])
