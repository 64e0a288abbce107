"""The champion as a tool of an assistant."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.errors import CommandError

if TYPE_CHECKING:
    from meltpoint.assistant.tools import Tools

HELP = "let an assistant ask the champion about pictures"
ABOUT = """\
Answer an assistant (a chat program that speaks the Model Context Protocol, MCP) about pictures: classify or segment
one, tag it with words, say what a class may be confused with, what the model is, and why it was promoted. Names are in
the language that the assistant asks for. The assistant starts the command and speaks to it on standard input; with
--port it listens on 127.0.0.1 instead, where MELTPOINT_SERVE_TOKEN is asked for if it is set.

It reads pictures that are sent, and files of the folder that --pictures names: no others, and it fetches no address.
It needs the optional extra: pip install -e '.[mcp]'

  meltpoint mcp --pictures photos/                        the champion of the model that params.yaml registers
  meltpoint mcp --model models/finetune --language zh     a model folder, or another version
  meltpoint mcp --port 5002                               at http://127.0.0.1:5002/mcp
  meltpoint mcp --pictures photos/ --try cell.png         asks itself as an assistant would, and prints the session
"""


def describe(mcp: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    champion = "the champion of register.name in params.yaml"
    mcp.add_argument("--model", help=f"models:/NAME@ALIAS, models:/NAME/VERSION or a folder (default: {champion})")
    mcp.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="a folder whose pictures may be read by their names"
    )
    mcp.add_argument("--language", help="of names where the assistant asks for none, as en or zh")
    mcp.add_argument("--port", type=int, help="listen on this port of 127.0.0.1, not on standard input")
    mcp.add_argument(
        "--tag", action="append", default=[], metavar="WORD", help="with --try: a word to tag it with, as 'a lake|湖'"
    )
    mcp.add_argument("--try", dest="tried", metavar="PICTURE", help="print a session about this file of --pictures")


def run(asked: argparse.Namespace) -> None:
    """Answer until the assistant leaves.

    Raises:
        CommandError: no model is named and there is no champion, or the folder of pictures is none.
        McpError: the extra is not installed.
        UserError: the model or the language cannot be used.
    """
    from meltpoint.commands.predict import open_asked

    if asked.pictures is not None and not asked.pictures.is_dir():
        raise CommandError(f"{asked.pictures} is no folder. Give --pictures a folder whose pictures may be read.")
    if asked.tried is not None:
        from meltpoint.assistant.session import show_session

        given = (("--model", asked.model), ("--pictures", asked.pictures), ("--language", asked.language))
        words = [f"{name}={value}" for name, value in given if value is not None]
        show_session(words, asked.tried, asked.language, asked.tag)
        return
    from meltpoint.assistant.server import build_server, serve_http

    server = build_server(open_asked(asked.model, lambda where: _read(where, asked)))
    if asked.port is None:
        server.run("stdio")
    else:
        serve_http(server, asked.port, os.environ.get("MELTPOINT_SERVE_TOKEN") or None)


def _read(where: str, asked: argparse.Namespace) -> "Tools":
    """The model of that name or folder, with what is on record about it."""
    from meltpoint.api import load
    from meltpoint.assistant.tools import Tools
    from meltpoint.export.winner import is_export
    from meltpoint.registry.evidence import read_evidence
    from meltpoint.serving.request_limits import read_limits
    from meltpoint.serving.responses import limit

    limits = read_limits(os.environ)
    evidence = read_evidence(where) if where.startswith("models:") else None
    folder = evidence.folder if evidence else Path(where)
    judged = folder.absolute().parent.parent / "reports" / ("exports" if is_export(folder) else "strategies")
    report = judged / folder.name / "predictions.parquet"
    predictions = evidence.predictions if evidence else report
    return Tools(
        where, limit(load(folder), limits), evidence, predictions, asked.pictures, limits, asked.language
    )  # fmt: skip
