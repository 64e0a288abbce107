"""Stage `register`: the winner becomes a version of the registered model, and its champion if it deserves it."""

from meltpoint.errors import guarded
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.registry.register import register


def main() -> None:
    """Show every run in MLflow, register the winner, and pass it through the gate."""
    watch = Stopwatch("register")
    outcome = register(read_params())
    watch.close(outcome.sentence)


guarded(main)
