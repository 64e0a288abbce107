"""Classes of pixels: judged by counts over a whole split, drawn as matrices, bars, and overlays of some images."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.evaluate.confusion import draw_confusion
from meltpoint.evaluate.judgement import HeadJudgement, Judgement
from meltpoint.evaluate.report_files import draw_pictures, write_judgement
from meltpoint.evaluate.style import GRID, INK, LINE, MUTED, drawn, style
from meltpoint.files import whole_file, whole_folder
from meltpoint.images.views import Views
from meltpoint.params.judging import Evaluate
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.segmentation.answer import masks_of
from meltpoint.tasks.segmentation.overlays import draw_overlays, palette_of, show_images

MOST = 60  # bars; of more classes the hardest are drawn
BAR = 0.26  # inches
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


def draw_bars(judged: Mapping[str, HeadJudgement], title: str, path: Path) -> None:
    """A panel for each head: IoU of each class in its colour, its boundary F-score, its share of the pixels."""
    heights = [BAR * min(MOST, max(1, len(head.classes))) + 0.9 for head in judged.values()]
    with rc_context(style()), whole_file(path) as temporary:
        figure = Figure(figsize=(8.4, sum(heights) + 0.5), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        grid = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axes, (name, head) in zip(grid, judged.items(), strict=True):
            _panel(axes, name, head)
        figure.savefig(temporary, metadata={"Software": None})


def _panel(axes: Axes, name: str, head: HeadJudgement) -> None:
    known = head.by_class["iou"].to_numpy()
    order = [int(code) for code in np.argsort(known, kind="stable") if not np.isnan(known[code])][:MOST][::-1]
    axes.set_title(f"{name}  ({head.images:,} images)")
    if not order:
        axes.text(0.5, 0.5, "no labelled images\nto draw from", ha="center", va="center", color=MUTED)
        return axes.set_axis_off()
    rows, table = np.arange(len(order)), head.by_class.iloc[order]
    colours = [tuple(colour) for colour in palette_of(head.card)[order]]
    axes.barh(rows, table["iou"], 0.66, color=colours, edgecolor=LINE, linewidth=0.8)
    axes.plot(table["boundary_f1"], rows, "D", color=INK, markersize=4, linestyle="none", label="boundary F-score")
    for row, iou in enumerate(table["iou"]):
        axes.text(1.015, row, f"{iou:.1%}", va="center", fontsize=8, fontweight="bold")
    mean = head.scores["miou"]
    if mean is not None:
        axes.axvline(mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label=f"mean IoU {mean:.1%}")
    share = table["support"] / max(1, head.by_class["support"].sum())
    shares = [f"{part:.1%}" if part >= 0.0005 or part == 0 else "<0.1%" for part in share]
    names = [f"{drawn(head.classes[code])}  {part}" for code, part in zip(order, shares, strict=True)]
    axes.set_yticks(rows, names, fontsize=8, color=INK)
    axes.set(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6), xlabel="IoU; beside a name: the class's share of the pixels")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0.42, 1.0), ncols=2, borderaxespad=0.2)
    return None
