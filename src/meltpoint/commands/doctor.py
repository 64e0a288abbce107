"""What is wrong with the store, and its repair."""

import argparse

from meltpoint.terminal import plain, say

HELP = "find what is wrong with the MLflow store, and repair it"
ABOUT = """\
Look for runs left RUNNING by dead processes, addresses that a moved repository has left behind, aliases that disagree
with promotions.jsonl, versions whose files are gone, an interrupted promotion, a database older than MLflow, and
MLFLOW_RUN_ID in the environment. With --repair, repair what can be repaired; without it nothing is changed. A local
store that has to be rebuilt is written again from git, DVC's cache and promotions.jsonl; what that cannot restore is
listed first, and the old store is kept in mlruns/replaced-DATE. Exit code 1 says that something is still wrong.
"""


def describe(doctor: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    doctor.add_argument("--repair", action="store_true", help="repair what can be repaired")


def run(asked: argparse.Namespace) -> None:
    """Print what was found, and what was repaired."""
    from meltpoint.params.read import read_params
    from meltpoint.recovery.doctor import REPAIR, doctor
    from meltpoint.registry.ledger import BEGIN
    from meltpoint.tracking.store import repository_root

    root = repository_root()
    report = doctor(read_params(root / "params.yaml").register_.name, root, asked.repair)
    for finding in report.repaired:
        say(f"repaired: {plain(finding.what)}")
    for finding in report.left:
        say(f"wrong:  {plain(finding.what)}\n        to repair it: {plain(finding.remedy)}")
        for lost in finding.lost:
            say(f"        not restored by that: {plain(lost)}")
    if any(finding.remedy == REPAIR for finding in report.left):
        say(f"\nRepair what can be repaired: {REPAIR}")
    if report.left:
        raise SystemExit(1)
    say(BEGIN if report.fresh else "Nothing is wrong." if not report.repaired else "Nothing else is wrong.")
