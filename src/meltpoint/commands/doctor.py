"""What is wrong with the store, and its repair."""

import argparse

HELP = "find what is wrong with the MLflow store, and mend it"
ABOUT = """\
Look for runs left RUNNING by dead processes, addresses that a moved repository has left behind, aliases that disagree
with promotions.jsonl, versions whose files are gone, a promotion that was cut short, a database older than MLflow, and
MLFLOW_RUN_ID in the environment. With --repair mend what can be mended; without it nothing is changed. Exit code 1 says
that something is still wrong.
"""


def describe(doctor: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    doctor.add_argument("--repair", action="store_true", help="mend what can be mended")


def run(asked: argparse.Namespace) -> None:
    """Print what was found, and what was mended."""
    from meltpoint.params.read import read_params
    from meltpoint.recovery.doctor import REPAIR, doctor
    from meltpoint.registry.ledger import BEGIN
    from meltpoint.tracking.store import repository_root

    root = repository_root()
    report = doctor(read_params(root / "params.yaml"), root, asked.repair)
    for finding in report.mended:
        print(f"mended: {finding.what}")
    for finding in report.left:
        print(f"wrong:  {finding.what}\n        to mend it: {finding.mend}")
    if any(finding.mend == REPAIR for finding in report.left):
        print(f"\nWhat can be mended is mended by: {REPAIR}")
    if report.left:
        raise SystemExit(1)
    print(BEGIN if report.fresh else "Nothing is wrong." if not report.mended else "Nothing else is wrong.")
