"""Stage `evaluate@NAME`: predictions of the saved model on val and test, judged, drawn, and weighed."""

import sys
from functools import partial
from pathlib import Path

from meltpoint.errors import asked_row, guarded
from meltpoint.evaluate.repeat_scores import write_repeats
from meltpoint.files import write_json
from meltpoint.images.views import open_views
from meltpoint.memory import keep_freed_memory
from meltpoint.model.card import views_of
from meltpoint.params.read import read_params
from meltpoint.predict.speed import measure_weight
from meltpoint.progress import Stopwatch
from meltpoint.tasks.answerer import open_answerer
from meltpoint.tasks.contract import load_metrics, load_report


def main() -> None:
    """Predict once, judge the predictions, draw what they show, weigh what made them."""
    keep_freed_memory()
    name = asked_row(sys.argv)
    watch, params = Stopwatch(f"evaluate@{name}"), read_params()
    answerer = open_answerer(Path("models") / name)
    views, kind, folder = open_views(views_of(answerer.card)), answerer.card.task, Path("reports/strategies") / name
    judge = partial(load_metrics(kind).judge, settings=params.evaluate)
    predictions = answerer.predict_views(views, ("val", "test"), params.evaluate.batch)
    judgement = judge(predictions, answerer.card)
    load_report(kind).write_report(predictions, judgement, views, answerer, params.evaluate, folder)
    write_json(Path(f"reports/costs/predict-{name}.json"), measure_weight(answerer.predictor))
    others = answerer.predict_repeats(Path("repeats") / name, views, ("val", "test"), params.evaluate.batch)
    write_repeats(predictions, judgement, answerer.card, others, judge, folder)
    watch.close(judgement.sentence(answerer.card.main_head), folder)


guarded(main)
