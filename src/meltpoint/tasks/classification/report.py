"""Everything one evaluation leaves behind: predictions, scores, curves for `dvc plots`, and pictures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from meltpoint.evaluate.confusion import draw_confusion
from meltpoint.evaluate.judgement import Judgement
from meltpoint.evaluate.report_files import draw_pictures, write_judgement
from meltpoint.files import whole_folder
from meltpoint.images.views import Views
from meltpoint.params.judging import Evaluate
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.classification.mistakes import draw_mistakes, worst_mistakes
from meltpoint.tasks.classification.plots import (
    draw_hierarchy,
    draw_panels,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
)


def write_report(
    predictions: pd.DataFrame,
    judgement: Judgement,
    views: Views,
    answerer: Answerer,
    settings: Evaluate,
    folder: Path,
) -> None:
    """Write `folder`: what `write_judgement` does, and pictures of every head and of the tree, on test."""
    judged, main_head, name = judgement.splits["test"], answerer.card.main_head, folder.name
    mistakes = worst_mistakes(predictions, main_head, judged[main_head].classes)
    shown = min(len(mistakes), settings.worst)
    worst = f"{name}: the worst {shown} of {len(mistakes)} mistakes on {main_head} (test)"
    confused = f"{name}: confusion matrix (test)"
    pictures: dict[str, Callable[[Path], None]] = {
        "confusion": lambda path: draw_confusion(judged, judgement.tree, confused, False, path),
        "reliability": partial(draw_panels, judged, f"{name}: reliability of its confidence (test)", draw_reliability),
        "roc": partial(draw_panels, judged, f"{name}: ROC (test)", draw_roc),
        "precision_recall": partial(draw_panels, judged, f"{name}: precision and recall (test)", draw_precision_recall),
        "mistakes": partial(draw_mistakes, mistakes, views, settings.worst, worst),
    }
    if judgement.trees:
        pictures["hierarchy"] = partial(draw_hierarchy, judgement.trees["test"], f"{name}: what the tree does (test)")
    with whole_folder(folder) as temporary:
        write_judgement(predictions, judgement, main_head, temporary)
        draw_pictures(pictures, temporary / "pictures")
