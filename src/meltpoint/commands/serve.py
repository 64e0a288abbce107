"""A registered model behind an address."""

import argparse
import os
import sys
from pathlib import Path

import meltpoint
from meltpoint.terminal import say

HELP = "serve a registered model on this machine"
ABOUT = """\
Serve a version on this machine alone (127.0.0.1), until Ctrl-C, as `mlflow models serve` does: /invocations takes
{"dataframe_records": [{"image": "<base64 of an image file>"}]}. Limits: 128 MB in one request, 512 MB in all that wait,
512 connections; 256 rows in a request, 32 MB and 50 million pixels in an image, which MELTPOINT_SERVE_ROWS,
MELTPOINT_SERVE_MEGABYTES and MELTPOINT_SERVE_MEGAPIXELS change. What is too large is refused, with the reason.

  meltpoint serve                                  the champion
  meltpoint serve models:/elpv-cells/3 --port 8080
"""


def describe(serve: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    serve.add_argument("model", nargs="?", help="models:/NAME@ALIAS or models:/NAME/VERSION; the champion without it")
    serve.add_argument("--port", type=int, default=5001, help="where to listen (default 5001)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")


def run(asked: argparse.Namespace) -> None:
    """Become the server of a version whose files are those that were registered; `-B` leaves no compiled code there."""
    from meltpoint.params.read import read_params
    from meltpoint.registry.version_files import fetch_package
    from meltpoint.registry.versions import CHAMPION
    from meltpoint.serving.request_limits import read_limits

    read_limits(os.environ)  # a wrong one is an error now, without a traceback
    model = asked.model or f"models:/{read_params().register_.name}@{CHAMPION}"
    package = fetch_package(model)
    say(f"{model} answers at http://{asked.host}:{asked.port}/invocations (Ctrl-C ends it)")
    script = Path(meltpoint.__path__[0]) / "serving" / "http_server.py"
    command = [sys.executable, "-P", "-B", str(script), str(package), asked.host, str(asked.port)]
    os.execv(command[0], command)  # noqa: S606
