"""Stage `compare`: which strategy to ship, by how much it is better, how sure that is, what it costs."""

from pathlib import Path

from meltpoint.compare.decision import compare
from meltpoint.compare.decision_files import write_decision
from meltpoint.compare.results import read_results
from meltpoint.errors import guarded
from meltpoint.export.winner import write_winner
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.tasks.contract import load_paired


def main() -> None:
    """Read every strategy's predictions and costs, decide, and say so in three formats."""
    watch, params = Stopwatch("compare"), read_params()
    reports, recipes = Path("reports"), {name: params.recipe(name) for name in params.strategies}
    results = read_results(reports, recipes, Path("data/classes.json"), load_paired(params.task.kind))
    decision = compare(results, params.compare)
    write_decision(decision, reports)
    write_winner(Path("models") / decision.winner, Path("exports/winner.json"))
    watch.close(decision.sentence, reports / "compare.html")


guarded(main)
