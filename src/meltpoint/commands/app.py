"""A page in the browser over trained models."""

import argparse
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from meltpoint.errors import CommandError, UserError
from meltpoint.terminal import say

HELP = "open a page in the browser: pictures, words, models beside each other"
ABOUT = """\
Show a page on this machine alone (127.0.0.1), until Ctrl-C: a picture from a file, the clipboard or the camera gets its
answers; words that are typed in are looked for, where the encoder has a text side; two models answer beside each other;
what a model looked at is drawn over the picture; many pictures become a gallery and a table. Nothing is asked of any
other machine, and pictures are deleted after an hour, and when the page ends.

It offers the champion of params.yaml, the champion before it, and what is in models/ and exports/. It needs the
extra `app`: pip install -e '.[app]'

  meltpoint app                                       the champion first
  meltpoint app --model models/frozen --port 8080     another one first
  meltpoint app --model models:/yoga/3 --model models:/yoga/2

--host: another address is refused, unless MELTPOINT_APP_PASSWORD is set; the page then asks for it.
"""


def describe(app: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    app.add_argument(
        "--model", action="append", default=[], metavar="MODEL",
        help="models:/NAME@ALIAS, models:/NAME/VERSION or a folder; may be given several times (default: the champion)",
    )  # fmt: skip
    app.add_argument("--port", type=int, default=7860, help="where to listen (default 7860)")
    app.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")


def run(asked: argparse.Namespace) -> None:
    """Serve the page.

    Raises:
        CommandError: the extra is missing, or there is no model.
        UserError: a model that was named cannot be opened, or the address cannot be had.
    """
    if find_spec("gradio") is None:
        raise CommandError(
            "The page needs the package gradio, which is not installed. Install the extra: pip install -e '.[app]'"
        )
    from meltpoint.api import load
    from meltpoint.page.server import Address, check_address, serve_page
    from meltpoint.page.shelf import Shelf

    address = Address(asked.host, asked.port, os.environ.get("MELTPOINT_APP_PASSWORD") or None)
    check_address(address)
    places = {place: place for place in asked.model} | {place: place for place in _found()}
    if not places:
        raise CommandError(
            "There is no model to show: none is named, and there is neither a champion nor a folder below models/ here."
            " Make one with `make repro`, or give --model MODEL."
        )
    shelf = Shelf(places, load)
    first = shelf.names[0]
    say(f"{first}: opening")
    shelf.open(first)
    say(f"{first} is open, 1 of {len(places)} {'model' if len(places) == 1 else 'models'}; others when they are chosen")
    serve_page(shelf, address)


def _found() -> Iterator[str]:
    """The champion, the one before it, the candidate, and the model folders and exports that are here."""
    from meltpoint.api import find
    from meltpoint.model.card import CARD
    from meltpoint.params.read import read_params

    if Path("params.yaml").exists():
        name = read_params().register_.name
        for alias in ("champion", "previous", "candidate"):
            try:
                find(f"models:/{name}@{alias}")
            except UserError:
                continue
            yield f"models:/{name}@{alias}"
    for folder in ("models", "exports"):
        yield from (str(path.parent) for path in sorted(Path(folder).glob(f"*/{CARD}")))
