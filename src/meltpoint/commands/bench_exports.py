"""All strategies in one export format."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "all strategies in one export format, in one table"
ABOUT = """\
Write the model of every strategy of params.yaml in a format that stands under `export`, and print one table: precision
and recall of each head on test, latency, megabytes, all of the files as they would run on a telephone. The exports are
in .variants/exports/; exports/ holds those of the winner, as before.

  meltpoint bench-exports litert
"""


def describe(exports: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    exports.add_argument("format", metavar="FORMAT", help="a row under `export` in params.yaml")


def run(asked: argparse.Namespace) -> None:
    """Export every strategy and print their table.

    Raises:
        UserError: there is no such row, a strategy is not trained, or a model cannot be written.
    """
    from meltpoint.export_table import tabulate_exports
    from meltpoint.params.read import read_params

    say(tabulate_exports(asked.format, read_params(), Path()))
