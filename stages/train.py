"""Stage `train@NAME`: the strategy of that name, from features or views to a model folder."""

import sys
from pathlib import Path

from meltpoint.train.strategy import Inputs, train_strategy

from meltpoint.errors import guarded
from meltpoint.files import write_json
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch


def main() -> None:
    """Train, or continue where a killed training stopped."""
    name = sys.argv[1]
    watch, params = Stopwatch(f"train@{name}"), read_params()
    trained = train_strategy(name, params, Inputs.below(Path("data")), Path("models") / name)
    write_json(Path(f"reports/costs/train-{name}.json"), trained.costs)
    watch.close(trained.sentence, Path("models") / name)


guarded(main)
