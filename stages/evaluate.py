"""Stage `evaluate@NAME`: predictions of the saved model on val and test, judged, drawn, and weighed."""

import sys
from functools import partial
from pathlib import Path

from meltpoint.errors import guarded
from meltpoint.evaluate.repeat_scores import write_repeats
from meltpoint.files import write_json
from meltpoint.images.views import open_views
from meltpoint.params.read import read_params
from meltpoint.predict.predictor import open_predictor
from meltpoint.predict.repeats import predict_repeats
from meltpoint.predict.speed import measure_weight
from meltpoint.progress import Stopwatch
from meltpoint.tasks.contract import load_metrics, load_report


def main() -> None:
    """Predict once, judge the predictions, draw what they show, weigh what made them."""
    name = sys.argv[1]
    watch, params = Stopwatch(f"evaluate@{name}"), read_params()
    views, predictor = open_views(Path("data/views")), open_predictor(Path("models") / name)
    kind, folder = predictor.card.task, Path("reports/strategies") / name
    judge = partial(load_metrics(kind).judge, settings=params.evaluate)
    predictions = predictor.predict_views(views, ("val", "test"), params.evaluate.batch)
    judgement = judge(predictions, predictor.card)
    load_report(kind).write_report(predictions, judgement, views, predictor, params.evaluate, folder)
    write_json(Path(f"reports/costs/predict-{name}.json"), measure_weight(predictor))
    others = predict_repeats(predictor, Path("repeats") / name, views, ("val", "test"), params.evaluate.batch)
    write_repeats(predictions, judgement, predictor.card, others, judge, folder)
    watch.close(judgement.sentence(predictor.card.main_head), folder)


guarded(main)
