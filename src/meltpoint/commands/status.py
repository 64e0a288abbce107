"""What was decided, and where everything is."""

import argparse
from pathlib import Path

from meltpoint.errors import CommandError
from meltpoint.terminal import plain, say

HELP = "read the decision, the table of strategies, the champion, and where everything is"
ABOUT = """\
Print the decision in one sentence, what each strategy reached and costs, which version is champion, and where the
report is. It reads reports/compare.json and promotions.jsonl, and changes nothing.
"""
DECISION, REPORT = Path("reports/compare.json"), Path("reports/compare.html")


def describe(status: argparse.ArgumentParser) -> None:
    """The command takes no words."""


def run(asked: argparse.Namespace) -> None:
    """Print what was decided in this folder.

    Raises:
        CommandError: there is no decision.
    """
    from meltpoint.comparison import read_comparison
    from meltpoint.params.read import read_params
    from meltpoint.registry.ledger import BEGIN, is_fresh, latest_change
    from meltpoint.tracking.descriptions import rows_of
    from meltpoint.tracking.store import repository_root

    del asked
    name, root = read_params().register_.name, repository_root()
    try:
        decision = read_comparison(DECISION)
    except FileNotFoundError:
        raise CommandError(BEGIN if is_fresh(root) else f"There is no {DECISION} yet. Make it: make repro") from None
    titles, rows = rows_of(decision)
    table = [titles, *rows]
    first, *others = [max(map(len, column)) for column in zip(*table, strict=True)]
    champion = latest_change(root, name, "champion")
    serving = f"version {champion.after}, since {champion.when[:10]}: {champion.why}" if champion else "none yet"
    lines = [plain("  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)])) for row in table]
    places = [f"champion  {name} {plain(serving)}", f"report    {REPORT}", "browse    make ui"]
    say("\n".join(["", plain(decision.sentence), "", *lines, "", *places]))
