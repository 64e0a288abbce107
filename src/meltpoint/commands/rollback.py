"""The champion before, back in its place."""

import argparse

from meltpoint.terminal import say

HELP = "put an earlier champion back"
ABOUT = """\
Put the previous champion back. It is loaded first, and has to answer as it did when it was registered: every version
has a few test pictures and the answers of its model. The ledger promotions.jsonl gets its lines, and the present
champion becomes `previous`, so that another rollback restores it. Programs that load models:/NAME@champion get the
other model the next time.

  meltpoint rollback                             the champion before this one
  meltpoint rollback --to 3                      an earlier one; `meltpoint history` lists them
  meltpoint rollback --why "blind at night"      the reason, for the ledger
"""


def describe(rollback: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    rollback.add_argument("--to", metavar="VERSION", help="a version that has been champion (default: the one before)")
    rollback.add_argument("--why", help="the reason, for the ledger")


def run(asked: argparse.Namespace) -> None:
    """Put an earlier champion of register.name in params.yaml back.

    Raises:
        UserError: there is none, or it does not answer as it did.
    """
    from meltpoint.params.read import read_params
    from meltpoint.recovery.rollback import rollback
    from meltpoint.tracking.store import open_store, repository_root

    name = read_params().register_.name
    say(rollback(open_store(name, repository_root(), moved=True), asked.to, asked.why))
