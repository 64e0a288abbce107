"""MLflow's store, written again from files."""

import argparse

from meltpoint.terminal import plain, say

HELP = "write runs, versions and aliases into MLflow from DVC's outputs and promotions.jsonl"
ABOUT = """\
MLflow is a view of files, which this command writes again: every finished pipeline that git and DVC know, with its
curves, scores, pictures and models, every version that promotions.jsonl names under its number, and the aliases. What
is there already is not written again, so it can be run twice. After `git clone`, run `dvc pull`, and then this; with
`dvc pull --all-commits` earlier models come, too.
"""


def describe(sync: argparse.ArgumentParser) -> None:
    """The command takes no words."""


def run(asked: argparse.Namespace) -> None:
    """Write the store of this repository, and say what is in it."""
    del asked
    from meltpoint.recovery.sync import sync
    from meltpoint.tracking.store import repository_root

    synced, problems = sync(repository_root())
    for problem in problems:
        say(f"\n! {plain(problem)}")
    say("\n".join(["", *(one.sentence for one in synced), "browse: meltpoint ui"]))
