"""The pipeline twice, and whether it gave the same."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "run the pipeline twice from scratch and compare, to the byte"
ABOUT = """\
Run every stage twice on a tiny generated dataset, each time from scratch in a temporary copy of this repository, with a
fixed number of threads, and compare both dvc.lock: about two minutes. They are the same, except for measured times and
memory (reports/costs) and the report that quotes them (reports/compare.*); the last lines say so. Any other difference
is named, both copies are kept, and the exit code is 1. Nothing in this folder is changed.
"""


def describe(repeat: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    repeat.add_argument("--threads", type=int, default=2, help="of each stage (default 2)")


def run(asked: argparse.Namespace) -> None:
    """Run twice, compare, and say what was equal."""
    from meltpoint.repeat import repeat

    say(repeat(Path().resolve(), asked.threads))
