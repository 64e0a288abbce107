"""The server as a container runs it: one model folder or export, without a registry.

`python -m meltpoint.serving.container FOLDER [HOST [PORT]]`; HOST is 127.0.0.1 unless another one is asked for.
"""

import os
import sys
from pathlib import Path

from meltpoint.errors import guarded
from meltpoint.serving.http_server import Address, serve
from meltpoint.serving.request_limits import read_limits


def main() -> None:
    """Serve until a signal comes."""
    folder, *rest = sys.argv[1:]
    host, port = (*rest, *("127.0.0.1", "5001")[len(rest) :])
    token, hosts = os.environ.get("MELTPOINT_SERVE_TOKEN"), os.environ.get("MELTPOINT_SERVE_HOSTS")
    serve(Path(folder), Address(host, int(port), token or None, hosts), read_limits(os.environ), folder)


if __name__ == "__main__":
    guarded(main)
