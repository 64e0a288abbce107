"""A registered model behind an address."""

import argparse
import os
from pathlib import Path

from meltpoint.errors import CommandError

HELP = "serve a registered model, or a model folder, on this machine"
ABOUT = """\
Serve a version, or a model folder, on this machine alone (127.0.0.1), until Ctrl-C. POST to /invocations, as to
`mlflow models serve`: {"dataframe_records": [{"image": "<base64 of an image file>"}]}. /health says that the server is
there, /ready that the model is loaded, /metrics counts for Prometheus. Images of requests that arrive together go
through the model together.

Limits: 128 MB in one request, 512 MB in all that wait, 512 connections, 256 of them from one address, 10 s for a header
and 60 s for a body; 256 rows and 250 million pixels in a request, 32 MB and 50 million pixels in an image. Change the
last four by MELTPOINT_SERVE_ROWS, _REQUEST_MEGAPIXELS, _MEGABYTES, _MEGAPIXELS. What is too large is refused, with the
reason. MELTPOINT_SERVE_TOKEN: a secret that requests have to send as `Authorization: Bearer SECRET`.
MELTPOINT_SERVE_HOSTS: further names, with commas, under which the server may be asked.

  meltpoint serve                                  the champion
  meltpoint serve models:/elpv-cells/3 --port 8080
  meltpoint serve --backend onnx_int8              the champion as an export that is offered
  meltpoint serve models/ram                       a model folder, as meltpoint convert-ram writes one
"""


def describe(serve: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    serve.add_argument(
        "model", nargs="?", help="models:/NAME@ALIAS, models:/NAME/VERSION or a folder; the champion without it"
    )
    serve.add_argument("--backend", metavar="FORMAT", help="an export of the version that is offered, as onnx_int8")
    serve.add_argument("--port", type=int, default=5001, help="where to listen (default 5001)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")


def run(asked: argparse.Namespace) -> None:
    """Serve a version whose files are those that were registered, or a model folder whose files are as it was saved."""
    from meltpoint.commands.predict import open_asked
    from meltpoint.serving.http_server import Address, serve
    from meltpoint.serving.request_limits import read_limits

    limits = read_limits(os.environ)
    token, hosts = os.environ.get("MELTPOINT_SERVE_TOKEN"), os.environ.get("MELTPOINT_SERVE_HOSTS")
    model, package = open_asked(asked.model, lambda where: (where, _fetch(where, asked.backend)))
    name = model if asked.backend is None else f"{model} as {asked.backend}"
    serve(package, Address(asked.host, asked.port, token or None, hosts), limits, name)


def _fetch(model: str, backend: str | None) -> Path:
    """What the server opens: the MLflow model of a version, as it was registered, or a model folder as it is."""
    if model.startswith("models:"):
        from meltpoint.registry.exports import fetch_export
        from meltpoint.registry.version_files import fetch_package

        return fetch_package(model) if backend is None else fetch_export(model, backend)
    if backend is not None:
        raise CommandError(f"--backend names an export of a registered version, and {model} is a folder. Leave it out.")
    from meltpoint.model.card import read_card
    from meltpoint.model.manifest import check_manifest, has_manifest
    from meltpoint.registry.exports import check_offered

    folder = Path(model)
    check_offered(folder)
    read_card(folder)
    if has_manifest(folder):
        check_manifest(folder)
    return folder
