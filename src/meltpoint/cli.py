"""The `meltpoint` command: what was decided, where to look at it, and what the winner says of pictures."""

import argparse
import sys
from collections.abc import Sequence

from meltpoint.commands import (
    bench_variants,
    doctor,
    fetch_urls,
    history,
    init,
    plan,
    predict,
    preset,
    repeat,
    rollback,
    serve,
    sign,
    status,
    sync,
    ui,
    verify,
)
from meltpoint.errors import guarded

ABOUT = """\
How far should you unfreeze? Meltpoint trains a backbone frozen and fine-tuned, and says which one to ship.

  meltpoint init PATH  write a params.yaml for your own images
  meltpoint plan       see which stages dvc repro will run, and about how long each takes
  dvc repro            run what params.yaml and the code make necessary
  meltpoint status     read the decision, and where everything is
  meltpoint ui         browse runs, curves, pictures and model versions
  meltpoint preset X   put presets/X.yaml in place as params.yaml
  meltpoint predict P  ask the champion about pictures, a folder of them, or addresses
  meltpoint serve      answer requests with the champion, on this machine only
  meltpoint history    read which version was champion when, and why
  meltpoint rollback   put the champion before back in its place
  meltpoint sync       write runs, versions and aliases into MLflow from files, as after a clone
  meltpoint doctor     find what is wrong with the MLflow store, and mend it
  meltpoint fetch-urls L --into D   bring the images that lists of links name
  meltpoint bench-variants A B      run several params files, and put them into one table
  meltpoint repeat     run everything twice on a tiny dataset, and compare to the byte
  meltpoint sign M --key K          sign a model with your own key; `meltpoint verify` checks that
"""
COMMANDS = {
    "status": status,
    "ui": ui,
    "init": init,
    "plan": plan,
    "preset": preset,
    "predict": predict,
    "history": history,
    "rollback": rollback,
    "sync": sync,
    "doctor": doctor,
    "fetch-urls": fetch_urls,
    "bench-variants": bench_variants,
    "repeat": repeat,
    "serve": serve,
    "sign": sign,
    "verify": verify,
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
