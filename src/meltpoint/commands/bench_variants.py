"""Params files side by side."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "several params files in one table"
ABOUT = """\
Run several params files, each in a workspace of its own below .variants/, up to its decision, and print one table:
precision and recall of the classes that all of them have, latency, megabytes. params.yaml, models/ and reports/ stay as
they are. What has been run is not run again. The table is in .variants/table.md too.

  meltpoint bench-variants presets/documents.yaml presets/documents-three.yaml --equal-latency
"""


def describe(variants: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    variants.add_argument("files", nargs="+", type=Path, metavar="FILES", help="params files, two or more")
    variants.add_argument(
        "--equal-latency",
        action="store_true",
        help="run faster variants again, with images as large as the slowest variant's latency allows",
    )


def run(asked: argparse.Namespace) -> None:
    """Run several params files and print their table.

    Raises:
        UserError: a file is no params.yaml, a run fails, or the variants have nothing in common.
    """
    from meltpoint.tracking.store import repository_root
    from meltpoint.variants import compare_variants

    say(compare_variants(asked.files, repository_root(), asked.equal_latency))
