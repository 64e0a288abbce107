"""Where the time of the stage `evaluate` goes.

On the model and the views of `make repro` in this folder, whose files stay as they are: what it writes goes elsewhere.

    python benchmarks/run.py evaluating
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from reporting import Row

Made = TypeVar("Made")
MODEL = Path("models/finetune")
IMPORTS = "from runpy import run_path; import meltpoint.errors as e; e.guarded = lambda _: None; run_path({stage!r})"
NETWORK = "import meltpoint.model.fuse, meltpoint.model.model"


def measure(folder: Path) -> list[Row]:
    """Seconds of the processor and of the clock of each part."""
    import meltpoint.model.fuse  # noqa: F401 - its imports are counted in a process of their own
    from meltpoint.images.views import open_views
    from meltpoint.model.card import views_of
    from meltpoint.params.read import read_params
    from meltpoint.tasks.answerer import open_answerer
    from meltpoint.tasks.contract import load_metrics, load_report

    if not MODEL.exists():
        return [Row("evaluate, seconds", 0, None, "", "not measured: run `make repro` first")]
    settings, clock = read_params().evaluate, Clock()
    script = IMPORTS.format(stage=str(Path(__file__).parents[1] / "stages" / "evaluate.py"))
    clock.take("start and imports", lambda: subprocess.run([sys.executable, "-c", f"{script}; {NETWORK}"], check=True))
    answerer = clock.take("open the model", lambda: open_answerer(MODEL))
    views = open_views(views_of(answerer.card))
    predict = partial(answerer.predict_views, views, ("val", "test"), settings.batch)
    predictions = clock.take("predict", predict)
    judge = partial(load_metrics(answerer.card.task).judge, predictions, answerer.card, settings)
    judgement = clock.take("judge", judge)
    report = load_report(answerer.card.task).write_report
    clock.take("draw and write", lambda: report(predictions, judgement, views, answerer, settings, folder / "report"))
    parts = ", ".join(f"{name} {spent:.1f} ({seconds:.1f})" for name, spent, seconds in clock.parts)
    note = f"{len(predictions):,} images of val and test; CPU seconds, on the clock in brackets: {parts}"
    return [Row("evaluate, CPU seconds", sum(spent for _, spent, _ in clock.parts), None, "", note)]


class Clock:
    """What parts took: their names, seconds of processors (of their processes too), seconds of the clock."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, float, float]] = []

    def take(self, name: str, work: Callable[[], Made]) -> Made:
        """The result of a part, which is timed."""
        start, before = time.perf_counter(), _processors()
        made = work()
        self.parts.append((name, _processors() - before, time.perf_counter() - start))
        return made


def _processors() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)
