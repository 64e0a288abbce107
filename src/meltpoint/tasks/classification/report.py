"""Everything one evaluation leaves behind: predictions, scores, curves for `dvc plots`, and pictures."""

from collections.abc import Callable
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
from meltpoint.tasks.classification.plots import draw_hierarchy, draw_precision_recall, draw_reliability, draw_roc


def write_report(
    predictions: pd.DataFrame,
    judgement: Judgement,
    views: Views,
    answerer: Answerer,
    settings: Evaluate,
    folder: Path,
) -> None:
    """Write `folder`: what `write_judgement` does, and pictures of every head and of the tree, on test."""
    judged, main_head = judgement.splits["test"], answerer.card.main_head
    with whole_folder(folder) as temporary:
        write_judgement(predictions, judgement, main_head, temporary)
        _draw_pictures(judgement, folder.name, temporary / "pictures")
        mistakes = worst_mistakes(predictions, main_head, judged[main_head].classes)
        shown = min(len(mistakes), settings.worst)
        title = f"{folder.name}: the worst {shown} of {len(mistakes)} mistakes on {main_head} (test)"
        draw_mistakes(mistakes, views, settings.worst, title, temporary / "pictures" / "mistakes.png")


def _draw_pictures(judgement: Judgement, name: str, folder: Path) -> None:
    judged, tree = judgement.splits["test"], judgement.tree
    pictures: dict[str, Callable[[Path], None]] = {
        "confusion": lambda path: draw_confusion(judged, tree, f"{name}: what is taken for what (test)", False, path),
        "reliability": lambda path: draw_reliability(judged, f"{name}: is its confidence earned? (test)", path),
        "roc": lambda path: draw_roc(judged, f"{name}: ROC (test)", path),
        "precision_recall": lambda path: draw_precision_recall(judged, f"{name}: precision and recall (test)", path),
    }
    if judgement.trees:
        title = f"{name}: what the tree does (test)"
        pictures["hierarchy"] = lambda path: draw_hierarchy(judgement.trees["test"], title, path)
    draw_pictures(pictures, folder)
