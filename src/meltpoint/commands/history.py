"""Who was champion, since when and why."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.progress import say

if TYPE_CHECKING:
    from meltpoint.registry.ledger import AliasChange

HELP = "the ledger: which version got which alias, when and why"
ABOUT = """\
Print promotions.jsonl as a table, oldest first: when an alias moved, from which version of the registered model to
which, what the version scored on the test images of that day, and why it moved. It reads the ledger alone, without
MLflow, and changes nothing. Below stands how many models have been judged on the test set (judged.jsonl), and how much
that flatters the best of them.

  meltpoint history                      every alias of register.name in params.yaml
  meltpoint history --alias champion     one of them
"""
TITLES = ("when (UTC)", "alias", "from", "to", "metric then", "why")
NOBODY = "-"


def describe(history: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    history.add_argument("--alias", help="champion, previous or candidate (default: all)")


def run(asked: argparse.Namespace) -> None:
    """Print the ledger of this repository."""
    say(history(Path(), asked.alias))


def history(folder: Path, alias: str | None) -> str:
    """The ledger of the model that params.yaml in `folder` registers, as a table; of one alias, or of all if None.

    Raises:
        LedgerError: a line of the ledger is none.
    """
    from meltpoint.params.read import read_params
    from meltpoint.registry.holdout_reuse import reuse_of
    from meltpoint.registry.ledger import BEGIN, LEDGER, changes_of, is_fresh
    from meltpoint.tracking.store import repository_root

    name, root = read_params(folder / "params.yaml").register_.name, repository_root()
    lines = changes_of(root, name, alias)
    if not lines and is_fresh(root):
        return BEGIN
    if not lines:
        which = f" {alias}" if alias else ""
        return f"No alias{which} of {name} has moved yet: {root / LEDGER} says nothing of it. Run: make repro"
    told = _columns([TITLES, *map(_row, lines)])
    reuse = reuse_of(root, name)
    return "\n".join([*told, *(["", f"{reuse}."] if reuse else [])])


def _row(change: "AliasChange") -> tuple[str, ...]:
    facts, when = change.facts, change.when[:16].replace("T", " ")
    then = NOBODY if facts.value is None else f"{facts.metric} {facts.value:.4f}"
    return when, change.alias, change.before or NOBODY, change.after or NOBODY, then, change.why


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns, the last one as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]
