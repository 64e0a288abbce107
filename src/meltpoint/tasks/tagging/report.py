"""Everything one evaluation of tags leaves behind: predictions, scores, tables, bars of tags, the worst mistakes."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.evaluate.judgement import HeadJudgement, Judgement
from meltpoint.evaluate.report_files import draw_pictures, write_judgement
from meltpoint.evaluate.style import ACCENT, GRID, INK, MUTED, drawn, style
from meltpoint.files import whole_file, whole_folder
from meltpoint.images.views import Views
from meltpoint.params.judging import Evaluate
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.tagging.mistakes import draw_mistakes, worst_mistakes

MOST = 60  # bars; of more tags the hardest are drawn
BAR = 0.26  # inches
FOUND = "#1769aa"  # of recall


def write_report(
    predictions: pd.DataFrame,
    judgement: Judgement,
    views: Views,
    answerer: Answerer,
    settings: Evaluate,
    folder: Path,
) -> None:
    """Write `folder`: what `write_judgement` does, and pictures of test."""
    judged, main, name = judgement.splits["test"], answerer.card.main_head, folder.name
    mistakes = worst_mistakes(predictions, main, answerer.card.heads[main])
    shown = min(len(mistakes), settings.worst)
    title = f"{name}: the worst {shown} of {len(mistakes)} images with a wrong tag on {main} (test)"
    pictures: dict[str, Callable[[Path], None]] = {
        "tags": partial(draw_tags, judged, f"{name}: each tag (test)"),
        "mistakes": partial(draw_mistakes, mistakes, views, settings.worst, title),
    }
    with whole_folder(folder) as temporary:
        write_judgement(predictions, judgement, main, temporary)
        draw_pictures(pictures, temporary / "pictures")


def draw_tags(judged: Mapping[str, HeadJudgement], title: str, path: Path) -> None:
    """A panel for each head: average precision of each tag, and precision and recall at its threshold."""
    heights = [BAR * min(MOST, max(1, len(head.classes))) + 1.1 for head in judged.values()]
    with rc_context(style()), whole_file(path) as temporary:
        figure = Figure(figsize=(8.4, sum(heights) + 0.5), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        grid = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axes, (name, head) in zip(grid, judged.items(), strict=True):
            _panel(axes, name, head)
        figure.savefig(temporary, metadata={"Software": None})


def _panel(axes: Axes, name: str, head: HeadJudgement) -> None:
    known = head.by_class["average_precision"].to_numpy()
    order = [int(place) for place in np.argsort(known, kind="stable") if not np.isnan(known[place])][:MOST][::-1]
    axes.set_title(f"{name}  ({head.images:,} images)")
    if not order:
        axes.text(0.5, 0.5, "no image with a tag\nto draw from", ha="center", va="center", color=MUTED)
        return axes.set_axis_off()
    rows, table = np.arange(len(order)), head.by_class.iloc[order]
    axes.barh(rows, table["average_precision"], 0.66, color=ACCENT, alpha=0.35, label="average precision")
    axes.plot(
        table["precision"], rows, "o", color=ACCENT, markersize=5, linestyle="none", clip_on=False, label="precision"
    )
    axes.plot(table["recall"], rows, "D", color=FOUND, markersize=4, linestyle="none", clip_on=False, label="recall")
    for row, (area, threshold) in enumerate(zip(table["average_precision"], table["threshold"], strict=True)):
        axes.text(1.015, row, f"{area:.1%}", va="center", fontsize=8, fontweight="bold")
        axes.text(1.10, row, f"above {threshold:.2f}", va="center", fontsize=8, color=MUTED)
    mean = head.scores["map"]
    if mean is not None:
        axes.axvline(mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label=f"mAP {mean:.1%}")
    names = [f"{drawn(str(tag))}  {int(count):,}" for tag, count in zip(table.index, table["support"], strict=True)]
    axes.set_yticks(rows, names, fontsize=8, color=INK)
    axes.set(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6), xlabel="beside a tag: its test images; right: its threshold")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2)
    return None
