"""A registered model behind an address."""

import argparse
import os

from meltpoint.terminal import say

HELP = "serve a registered model on this machine"
ABOUT = """\
Serve a version on this machine alone (127.0.0.1), until Ctrl-C. POST to /invocations, as to `mlflow models serve`:
{"dataframe_records": [{"image": "<base64 of an image file>"}]}. /health says that the server is there, /ready that the
model is loaded, /metrics counts for Prometheus. Images of requests that arrive together go through the model together.

Limits: 128 MB in one request, 512 MB in all that wait, 512 connections, 256 of them from one address, 10 s for a header
and 60 s for a body; 256 rows and 250 million pixels in a request, 32 MB and 50 million pixels in an image. Change the
last four by MELTPOINT_SERVE_ROWS, _REQUEST_MEGAPIXELS, _MEGABYTES, _MEGAPIXELS. What is too large is refused, with the
reason. MELTPOINT_SERVE_TOKEN: a secret that requests have to send as `Authorization: Bearer SECRET`.
MELTPOINT_SERVE_HOSTS: further names, with commas, under which the server may be asked.

  meltpoint serve                                  the champion
  meltpoint serve models:/elpv-cells/3 --port 8080
"""


def describe(serve: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    serve.add_argument("model", nargs="?", help="models:/NAME@ALIAS or models:/NAME/VERSION; the champion without it")
    serve.add_argument("--port", type=int, default=5001, help="where to listen (default 5001)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")


def run(asked: argparse.Namespace) -> None:
    """Serve a version whose files are those that were registered."""
    from meltpoint.params.read import read_params
    from meltpoint.registry.version_files import fetch_package
    from meltpoint.registry.versions import CHAMPION
    from meltpoint.serving.http_server import Address, serve
    from meltpoint.serving.request_limits import read_limits

    limits = read_limits(os.environ)
    model = asked.model or f"models:/{read_params().register_.name}@{CHAMPION}"
    package = fetch_package(model)
    say(f"{model} answers at http://{asked.host}:{asked.port}/invocations (Ctrl-C ends it)")
    token, hosts = os.environ.get("MELTPOINT_SERVE_TOKEN"), os.environ.get("MELTPOINT_SERVE_HOSTS")
    serve(package, Address(asked.host, asked.port, token or None, hosts), limits)
