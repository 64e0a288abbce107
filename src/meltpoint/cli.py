"""The `meltpoint` command: what was decided, where to look at it, and what the winner says of pictures."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from meltpoint.errors import guarded

ABOUT = """\
How far should you unfreeze? Meltpoint trains a backbone frozen and fine-tuned, and says which one to ship.
`dvc repro` runs what params.yaml and the code make necessary; these commands help before and after:
"""
NAMES = (
    "init", "plan", "preset", "status", "ui", "predict", "app", "serve", "mcp", "package", "history", "rollback",
    "sync", "adopt", "doctor", "fetch-urls", "bench-variants", "bench-exports", "repeat", "sign", "verify",
    "convert-ram",
)  # fmt: skip
COMMANDS = {name: import_module(f"meltpoint.commands.{name.replace('-', '_')}") for name in NAMES}


def main() -> None:
    """Run the command line."""
    guarded(lambda: run(sys.argv[1:]))


def run(words: Sequence[str]) -> None:
    """Run one command, `words` without the program's name."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="meltpoint", description=ABOUT, formatter_class=shape)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.describe(commands.add_parser(name, help=command.HELP, description=command.ABOUT, formatter_class=shape))
    asked = parser.parse_args(words)
    COMMANDS[asked.command].run(asked)
