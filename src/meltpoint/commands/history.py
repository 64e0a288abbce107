"""Which version was champion, since when and why."""

import argparse

from meltpoint.terminal import plain, say

HELP = "which version got which alias, when and why"
ABOUT = """\
Print promotions.jsonl as a table, oldest first: when an alias moved, from which version of the registered model to
which, what the version scored on the test images of that day, and why it moved. It reads the ledger alone, without
MLflow, and changes nothing. Below stands how many models have been judged on the test set (judged.jsonl), and how much
that flatters the best of them. Where two clones gave one number to two models, the later one has its fingerprint in
parentheses, and a line with `number` says which version it is now.

  meltpoint history                      every alias of register.name in params.yaml
  meltpoint history --alias champion     one of them
"""
TITLES = ("when (UTC)", "who", "alias", "from", "to", "metric then", "why")
NOBODY = "-"


def describe(history: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    history.add_argument("--alias", help="champion, previous or candidate (default: all)")


def run(asked: argparse.Namespace) -> None:
    """Print the ledger of the model that params.yaml registers.

    Raises:
        LedgerError: a line of the ledger is none.
    """
    from meltpoint.params.read import read_params
    from meltpoint.registry.histories import is_of_another, owners
    from meltpoint.registry.holdout_reuse import reuse_of
    from meltpoint.registry.ledger import BEGIN, LEDGER, changes_of, is_fresh
    from meltpoint.tracking.store import repository_root

    name, root = read_params().register_.name, repository_root()
    rows: list[tuple[str, ...]] = [TITLES]
    known = owners(changes_of(root, name))
    for change in changes_of(root, name, asked.alias):
        facts, when = change.facts, change.when[:16].replace("T", " ")
        then = NOBODY if facts.value is None else f"{facts.metric} {facts.value:.4f}"
        moved = (change.alias, change.before or NOBODY, change.after or NOBODY)
        if is_of_another(change, known):
            moved = (*moved[:2], f"{change.after} ({facts.key[:7]})")
        rows.append(tuple(map(plain, (when, change.who or NOBODY, *moved, then, change.why))))
    if rows == [TITLES]:
        which = f" {asked.alias}" if asked.alias else ""
        none = f"No alias{which} of {name} has moved yet: {root / LEDGER} has no line about it. Run: make repro"
        say(BEGIN if is_fresh(root) else none)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]
    reuse = reuse_of(root, name)
    say("\n".join([*lines, *(["", f"{reuse}."] if reuse else [])]))
