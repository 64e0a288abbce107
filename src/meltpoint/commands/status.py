"""What was decided, and where everything is."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from meltpoint.commands.trouble import CommandError
from meltpoint.progress import say

HELP = "the decision, the table of strategies, the champion"
ABOUT = """\
Print the decision in one sentence, what each strategy reached and costs, which version is champion, and where the
report is. It reads reports/compare.json and promotions.jsonl, and changes nothing.
"""
REPORT = Path("reports/compare.html")


def describe(status: argparse.ArgumentParser) -> None:
    """The command takes no words."""


def run(asked: argparse.Namespace) -> None:
    """Print the decision of this folder."""
    del asked
    say(status(Path()))


def status(folder: Path) -> str:
    """What was decided in `folder`, in plain text.

    Raises:
        CommandError: there is no decision.
    """
    from meltpoint.comparison import read_comparison
    from meltpoint.params.read import read_params
    from meltpoint.registry.ledger import BEGIN, is_fresh, latest_change
    from meltpoint.tracking.descriptions import rows_of
    from meltpoint.tracking.store import repository_root

    params = read_params(folder / "params.yaml")
    try:
        decision = read_comparison(folder / "reports" / "compare.json")
    except FileNotFoundError:
        if is_fresh(repository_root()):
            raise CommandError(BEGIN) from None
        raise CommandError(f"There is no {folder / 'reports/compare.json'} yet. Make it with: make repro") from None
    titles, rows = rows_of(decision)
    champion = latest_change(repository_root(), params.register_.name, "champion")
    serving = f"version {champion.after}, since {champion.when[:10]}: {champion.why}" if champion else "none yet"
    return "\n".join([
        "", decision.sentence, "", *_columns([titles, *rows]), "",
        f"champion  {params.register_.name} {serving}",
        f"report    {folder / REPORT}",
        "browse    make ui",
    ])  # fmt: skip


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
