"""Stage `compare`: which strategy to ship, by how much it is better, how sure that is, what it costs."""

from pathlib import Path

from meltpoint.errors import guarded
from meltpoint.evaluate.compare import compare
from meltpoint.evaluate.decision import write_decision
from meltpoint.evaluate.evidence import read_evidence
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch


def main() -> None:
    """Read every strategy's predictions and costs, decide, and say so in three formats."""
    watch, params = Stopwatch("compare"), read_params()
    reports, classes, about = Path("reports"), Path("data/classes.json"), (params.task.kind, params.compare.metric)
    evidence = read_evidence(reports, list(params.strategies), params.heads, params.main_head, classes, *about)
    decision = compare(evidence, params.compare)
    write_decision(decision, reports)
    watch.close(decision.sentence, reports / "compare.html")


guarded(main)
