"""Stage `register`: the winner becomes a version of the registered model, and its champion if it deserves it."""

from meltpoint.errors import guarded
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.registry.register import register
from meltpoint.tracking.pipeline_state import read_state


def main() -> None:
    """Show every run in MLflow, register the winner, and pass it through the gate."""
    watch = Stopwatch("register")
    params = read_params()
    outcome = register(read_state(params.register_.name, params.effective), params.gate)
    watch.close(outcome.sentence)


guarded(main)
