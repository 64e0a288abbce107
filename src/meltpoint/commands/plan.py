"""What `dvc repro` is about to do."""

import argparse

HELP = "which stages dvc repro will run, why, and about how long each takes"
ABOUT = """\
Say which stages `dvc repro` will run, why, and about how long each takes: as the last time on this machine, where its
params are the same, else estimated from the number of images and the speeds that `meltpoint init` measured, or from
those of two usual cores. A stage with a result of the same input in DVC's cache takes it from there, and is quicker.
It runs nothing and changes nothing. `make repro` begins with it.

  meltpoint plan
"""


def describe(plan: argparse.ArgumentParser) -> None:
    """The command takes no words."""


def run(asked: argparse.Namespace) -> None:
    """Print what DVC would run in this folder.

    Raises:
        UserError: DVC or params.yaml cannot be read.
    """
    from meltpoint.forecast.plan import plan

    del asked
    print("\n".join(plan()), flush=True)
