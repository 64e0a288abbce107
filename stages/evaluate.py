"""Stage `evaluate@NAME`: predictions of the saved model on val and test, judged, drawn, and timed."""

import sys
from pathlib import Path

from meltpoint.errors import guarded
from meltpoint.evaluate.classification import judge
from meltpoint.evaluate.report import write_evaluation
from meltpoint.files import write_json
from meltpoint.images.views import open_views
from meltpoint.params.read import read_params
from meltpoint.predict.predictor import open_predictor
from meltpoint.predict.speed import measure
from meltpoint.progress import Stopwatch


def main() -> None:
    """Predict once, judge the predictions, draw what they show, measure what they cost."""
    name = sys.argv[1]
    watch, params = Stopwatch(f"evaluate@{name}"), read_params()
    views, predictor = open_views(Path("data/views")), open_predictor(Path("models") / name)
    predictions = predictor.predict_views(views, ("val", "test"), params.evaluate.batch)
    judgement = judge(predictions, predictor.card.heads, predictor.card.tree, params.evaluate.calibration_bins)
    folder, main_head = Path("reports/strategies") / name, predictor.card.main_head
    write_evaluation(predictions, judgement, views, main_head, params.evaluate, folder)
    write_json(Path(f"reports/costs/predict-{name}.json"), measure(predictor, params.evaluate))
    watch.close(judgement.sentence(main_head), folder)


guarded(main)
