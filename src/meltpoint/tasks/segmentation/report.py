"""Classes of pixels: judged by counts over a whole split, drawn as matrices, bars, and overlays of some images."""

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
from meltpoint.tasks.segmentation.answer import masks_of
from meltpoint.tasks.segmentation.iou_plot import draw_bars
from meltpoint.tasks.segmentation.overlays import draw_overlays, show_images

ROWS = 2000  # of the table for DVC's confusion template, which counts them: pixels are too many


def write_report(
    predictions: pd.DataFrame,
    judgement: Judgement,
    views: Views,
    answerer: Answerer,
    settings: Evaluate,
    folder: Path,
) -> None:
    """Write `folder`: what `write_judgement` does, and pictures of test."""
    judged, main = judgement.splits["test"], answerer.card.main_head
    answer = partial(masks_of, answerer.predictor, views)
    with whole_folder(folder) as temporary:
        write_judgement(predictions, judgement, main, temporary, ROWS)
        pictures: dict[str, Callable[[Path], None]] = {
            "confusion": lambda path: draw_confusion(
                judged, None, f"{folder.name}: confusion matrix (test)", True, path
            ),
            "iou": lambda path: draw_bars(judged, f"{folder.name}: IoU of each class (test)", path),
            "overlays": lambda path: draw_overlays(
                show_images(predictions, answerer.card, answer, views, settings.worst),
                answerer.card.heads[main],
                f"{folder.name}: {main} on the best, middle and worst images (test)",
                path,
            ),
        }
        draw_pictures(pictures, temporary / "pictures")
