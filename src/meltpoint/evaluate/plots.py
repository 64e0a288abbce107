"""Pictures of a judgement, a panel for each head: confusion, reliability, ROC, precision-recall; it only draws."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from meltpoint.evaluate.classification import HeadJudgement
from meltpoint.evaluate.curves import Curve, Ranking, average
from meltpoint.files import whole_file

Judged = dict[str, HeadJudgement]  # head -> its judgement on one split
Corner = Literal["lower left", "lower right"]
Panel = Callable[[Axes, HeadJudgement], None]

INK, MUTED, LINE, GRID, ACCENT = "#1f2933", "#6b7785", "#b8c2cc", "#e3e8ee", "#d9480f"
COLOURS = ["#d9480f", "#1769aa", "#2b8a3e", "#7048a8", "#b8860b", "#0b7285", "#a61e4d", "#495057"]
NAMED = 8  # classes that get a colour and a line of the legend; of more, the mean is named
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "xtick.color": MUTED, "ytick.color": MUTED, "legend.frameon": False,
    "legend.fontsize": 8, "figure.dpi": 130, "savefig.dpi": 130, "axes.axisbelow": True,
}  # fmt: skip


def draw_confusion(judged: Judged, title: str, path: Path) -> None:
    """Counts, coloured by the share of the true class."""
    most = max(len(head.classes) for head in judged.values())
    _draw(judged, title, _confusion, side=max(3.6, 0.17 * most), path=path)


def draw_reliability(judged: Judged, title: str, path: Path) -> None:
    """Accuracy over confidence with the calibration error, above how many images had which confidence."""
    _draw(judged, title, _reliability, side=3.9, path=path)


def draw_roc(judged: Judged, title: str, path: Path) -> None:
    """True positive rate over false positive rate, each class against the rest."""
    _draw(judged, title, _roc, side=3.9, path=path)


def draw_precision_recall(judged: Judged, title: str, path: Path) -> None:
    """Precision over recall, each class against the rest."""
    _draw(judged, title, _precision_recall, side=3.9, path=path)


def _draw(judged: Judged, title: str, panel: Panel, side: float, path: Path) -> None:
    """A row of up to three panels, then the next row."""
    columns = min(3, len(judged))
    rows = -(-len(judged) // columns)
    with rc_context(STYLE), whole_file(path) as temporary:
        figure = Figure(figsize=(columns * side + 0.6, rows * (side + 0.5) + 0.4), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, head) in zip(grid, judged.items(), strict=False):
            axes.set_title(f"{name}  ({head.images:,} images)")
            panel(axes, head)
        for axes in grid[len(judged) :]:
            axes.set_axis_off()
        figure.savefig(temporary, metadata={"Software": None})


def _confusion(axes: Axes, head: HeadJudgement) -> None:
    counts, size = head.confusion, len(head.classes)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    colours = LinearSegmentedColormap.from_list("ember", ["#ffffff", "#ffd8bf", "#f08c4a", "#b93815", "#6b1d0b"])
    # among many classes single slips are faint: their colours are spread
    axes.imshow(share, cmap=colours, norm=PowerNorm(1 if size <= 20 else 0.5, 0, 1))
    small = 8 if size <= 12 else max(4, 8 - size // 16)
    axes.set_xticks(range(size), head.classes, fontsize=small, rotation=0 if size <= 2 else 90)
    axes.set_yticks(range(size), head.classes, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row, column in np.ndindex(size, size) if size <= 20 else []:
        text = f"{counts[row, column]:,}" + (f"\n{share[row, column]:.0%}" if size <= 6 else "")
        colour = "white" if share[row, column] > 0.55 else INK
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10 if size <= 6 else 6)


def _reliability(axes: Axes, head: HeadJudgement) -> None:
    _diagonal(axes, "confidence in the predicted class", "accuracy")
    table, error = head.reliability, head.scores["expected_calibration_error"]
    if error is None:
        return _nothing(axes)
    below = axes.inset_axes((0, 0, 1, 0.16), zorder=0)
    below.bar(table["low"], table["images"], table["high"] - table["low"], align="edge", color="#cfd8e3", linewidth=0)
    below.set_xlim(0, 1)
    below.set_axis_off()
    axes.plot(table["confidence"], table["accuracy"], "o-", color=ACCENT, markersize=4, linewidth=1.6)
    axes.text(0.03, 0.96, f"calibration error {error:.1%}", va="top", fontweight="bold")
    axes.text(0.03, 0.89, "bars: images at this confidence", va="top", color=MUTED, fontsize=8)
    return None


def _roc(axes: Axes, head: HeadJudgement) -> None:
    _diagonal(axes, "false positive rate", "true positive rate")
    _curves(axes, head, lambda ranking: ranking.roc, "AUC", "lower right")


def _precision_recall(axes: Axes, head: HeadJudgement) -> None:
    _square(axes, "recall", "precision")
    _curves(axes, head, lambda ranking: ranking.precision_recall, "AP", "lower left")


def _curves(axes: Axes, head: HeadJudgement, which: Callable[[Ranking], Curve], area: str, corner: Corner) -> None:
    curves = {name: which(ranking) for name, ranking in head.rankings.items()}
    if not curves:
        return _nothing(axes)
    if len(head.classes) == 2:
        curves = dict(list(curves.items())[-1:])
    if len(curves) > NAMED:
        for curve in curves.values():
            axes.plot(curve.x, curve.y, color=LINE, linewidth=0.5, alpha=0.6)
        curves = {f"mean of {len(curves)} classes": average(list(curves.values()), points=201)}
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(curve.x, curve.y, color=colour, linewidth=1.6, label=f"{name}, {area} {curve.area:.3f}")
    axes.legend(loc=corner)
    return None


def _diagonal(axes: Axes, x: str, y: str) -> None:
    _square(axes, x, y)
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, linestyle=(0, (4, 3)))


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=x, ylabel=y)
    axes.grid(color=GRID, linewidth=0.7)


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no labelled images\nto draw from", ha="center", va="center", color=MUTED)
