"""The `meltpoint` command: what was decided, where to look at it, and what the winner says of pictures."""

import argparse
import sys
from collections.abc import Sequence

from meltpoint.commands import bench_variants, fetch_urls, predict, preset, status, ui
from meltpoint.errors import guarded

ABOUT = """\
How far should you unfreeze? Meltpoint trains a backbone frozen and fine-tuned, and says which one to ship.

  dvc repro            run what params.yaml and the code make necessary
  meltpoint status     read the decision, and where everything is
  meltpoint ui         browse runs, curves, pictures and model versions
  meltpoint preset X   put presets/X.yaml in place as params.yaml
  meltpoint predict P  ask the champion about pictures, a folder of them, or addresses
  meltpoint fetch-urls L --into D   bring the images that lists of links name
  meltpoint bench-variants A B      run several params files, and put them into one table
"""
COMMANDS = {
    "status": status,
    "ui": ui,
    "preset": preset,
    "predict": predict,
    "fetch-urls": fetch_urls,
    "bench-variants": bench_variants,
}


def main() -> None:
    """Run the command line."""
    guarded(lambda: run(sys.argv[1:]))


def run(words: Sequence[str]) -> None:
    """Run one command, `words` without the program's name."""
    asked = _parser().parse_args(words)
    COMMANDS[asked.command].run(asked)


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="meltpoint", description=ABOUT, formatter_class=shape)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.describe(commands.add_parser(name, help=command.HELP, description=command.ABOUT, formatter_class=shape))
    return parser
