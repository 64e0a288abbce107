"""The process that holds a served model: it answers lists of base64 images that come over a socket.

Run as a script it imports nothing of this package: the one that travels with the model has to come first. What it
prints passes `terminal.py`, which it runs as a script, too. It ends when its socket is closed, and on no signal: the
server sees to that.
"""

import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

LENGTH = 8  # bytes before each message that say how long it is; a message is JSON


def main(package: str, descriptor: str) -> None:
    """Load the MLflow model in the folder `package`, say so, and answer on the open socket `descriptor`."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import pandas as pd
    from mlflow.pyfunc import load_model

    model = load_model(package)
    with (
        suppress(ConnectionError),
        socket.socket(fileno=int(descriptor)) as channel,
        channel.makefile("rwb") as two_way,
    ):
        pipe = cast(IO[bytes], two_way)
        _write(pipe, {})
        while length := pipe.read(LENGTH):
            images = json.loads(pipe.read(int.from_bytes(length)))
            try:
                frame = cast(pd.DataFrame, model.predict(pd.DataFrame({"image": images})))
                rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
                _write(pipe, {"rows": rows})
            except Exception as error:  # noqa: BLE001 - the server says it to who asked
                _write(pipe, {"error": f"{type(error).__name__}: {error}"})


def _write(pipe: IO[bytes], message: dict[str, object]) -> None:
    content = json.dumps(message, default=lambda value: value.item()).encode()
    pipe.write(len(content).to_bytes(LENGTH) + content)
    pipe.flush()


if __name__ == "__main__":
    terminal = runpy.run_path(str(Path(__file__).parents[1] / "terminal.py"))
    with terminal["visible_output"]():  # images and libraries may bring what steers a terminal
        main(*sys.argv[1:])
