"""Stage `train@NAME`: the strategy of that name, from features or views to a model folder, and those of its repeats."""

import sys
from pathlib import Path

from meltpoint.errors import asked_row, guarded
from meltpoint.files import write_json
from meltpoint.memory import keep_freed_memory
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.train.history_file import HISTORY, write_curves
from meltpoint.train.strategy import Inputs, train_strategy


def main() -> None:
    """Train, or continue where a killed training stopped."""
    keep_freed_memory()
    name = asked_row(sys.argv)
    watch, recipe, folder = Stopwatch(f"train@{name}"), read_params().recipe(name), Path("models") / name
    trained = train_strategy(recipe, Inputs.below(Path("data"), recipe), folder, Path("repeats") / name)
    write_json(Path(f"reports/costs/train-{name}.json"), trained.costs)
    write_curves(folder / HISTORY, Path(f"reports/curves/{name}.csv"))
    watch.close(trained.sentence, folder)


guarded(main)
