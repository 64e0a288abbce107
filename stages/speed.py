"""Stage `speed`: how fast the strategies' models predict, all of them measured in turn in one process."""

from pathlib import Path

from meltpoint.errors import guarded
from meltpoint.files import write_json
from meltpoint.memory import keep_freed_memory
from meltpoint.params.read import read_params
from meltpoint.predict.speed import measure_speeds
from meltpoint.progress import Stopwatch
from meltpoint.tasks.answerer import open_answerer


def main() -> None:
    """Open every model, measure them round by round, write what was found."""
    keep_freed_memory()
    watch, params = Stopwatch("speed"), read_params()
    models = {name: open_answerer(Path("models") / name) for name in params.strategies}
    speeds = measure_speeds(models, params.evaluate)
    path = Path("reports/costs/speed.json")
    write_json(path, speeds)
    told = (f"{name} {found['latency_p50_ms']:.3g} ms" for name, found in speeds["strategies"].items())
    watch.close(f"one image takes {', '.join(told)}", path)


guarded(main)
