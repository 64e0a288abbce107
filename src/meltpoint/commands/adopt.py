"""What a shared store knows, taken over into the ledger."""

import argparse

from meltpoint.terminal import say

HELP = "write into promotions.jsonl what the MLflow store knows of promotions"
ABOUT = """\
Clones that share a tracking server promote versions of one registered model, and each has a promotions.jsonl of its
own. `git pull` brings the lines of the others. Where that is not possible, this writes them from the record that the
store keeps: who moved which alias, when and why. An alias that was moved by hand gets a line that says so. No alias
moves.

Clones that have stores of their own may give one number to two models; once git has merged their ledgers, this gives
the later model a number of its own, in a line that says so. Then `meltpoint doctor --repair` writes the store anew.
"""


def describe(adopt: argparse.ArgumentParser) -> None:
    """The command takes no words."""


def run(asked: argparse.Namespace) -> None:
    """Write the lines, and print them."""
    del asked
    from meltpoint.params.read import read_params
    from meltpoint.registry.ledger import LEDGER, place
    from meltpoint.registry.promotion import adopt
    from meltpoint.tracking.store import open_store, repository_root

    written = adopt(open_store(read_params().register_.name, repository_root()))
    for change in written:
        say(f"{change.alias}: {place(change.before)} to {place(change.after)}, {change.who or 'unknown'}: {change.why}")
    say(f"{len(written)} lines written to {LEDGER}" if written else f"{LEDGER} has all that the store knows")
