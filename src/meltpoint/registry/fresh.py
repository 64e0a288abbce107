"""A repository in which nothing was run yet, as after `git clone` of the template, and the words for it."""

from pathlib import Path

from meltpoint.registry.ledger import LEDGER

TRACES = ("dvc.lock", LEDGER, "reports/compare.json", "mlruns/mlflow.db")  # of a run that came to anything
BEGIN = "Nothing was run here yet. Begin with: make repro"


def is_fresh(root: Path) -> bool:
    """Whether no run has left a trace in the working tree of the repository at `root`."""
    return not any((root / name).exists() for name in TRACES)
