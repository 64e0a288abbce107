"""What `dvc repro` is about to do."""

import argparse

from meltpoint.terminal import plain, say

HELP = "see which stages dvc repro will run, why, and about how long each takes"
ABOUT = """\
Say which stages `dvc repro` will run, why, and about how long each takes: as the last time on this machine, if the
params are the same, else estimated from the number of images, the speed of each encoder at the size of its views, and
what each strategy does. The last lines say which speeds were measured on this machine, and which are scaled or guessed.
A stage with a result of the same input in DVC's cache takes it from there, and is quicker. Nothing is run or changed.
`make repro` begins with this.

  meltpoint plan
  meltpoint plan --measure     time every encoder of params.yaml on this machine first, some seconds each
"""


def describe(plan: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    plan.add_argument("--measure", action="store_true", help="time every encoder on this machine first")


def run(asked: argparse.Namespace) -> None:
    """Print what DVC would run in this folder.

    Raises:
        UserError: DVC or params.yaml cannot be read.
    """
    from meltpoint.forecast.plan import plan

    for line in plan(asked.measure):
        say(plain(line))
