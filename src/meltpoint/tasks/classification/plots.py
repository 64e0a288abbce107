"""Pictures of a judgement, a panel for each head: reliability, ROC, precision-recall; and of a tree; it only draws."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.evaluate.curves import Curve, Ranking, average
from meltpoint.evaluate.hierarchy import TreeJudgement
from meltpoint.evaluate.judgement import HeadJudgement
from meltpoint.evaluate.style import ACCENT, GRID, INK, LINE, MUTED, drawn, style
from meltpoint.files import whole_file

Judged = dict[str, HeadJudgement]  # head -> its judgement on one split
Corner = Literal["lower left", "lower right"]
Panel = Callable[[Axes, HeadJudgement], None]

COLOURS = ["#d9480f", "#1769aa", "#2b8a3e", "#7048a8", "#b8860b", "#0b7285", "#a61e4d", "#495057"]
SIDE = 3.9  # inches of a panel
NAMED = 8  # classes that get a colour and a line of the legend; of more, the mean is named


def draw_hierarchy(judged: TreeJudgement, title: str, path: Path) -> None:
    """Accuracy on each level, and how far off mistakes are, when heads answer alone and when the tree decides."""
    with rc_context(style()), whole_file(path) as temporary:
        figure = Figure(figsize=(9.6, 4.3), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        levels, distances = figure.subplots(1, 2, width_ratios=[1, 1])
        if judged.independent is None or judged.consistent is None:
            _nothing(levels)
            _nothing(distances)
        else:
            alone, together = judged.independent, judged.consistent
            names, edges = list(together.levels), sorted(alone.distances.keys() | together.distances.keys())
            ways = ((alone, "each head alone", LINE, -0.2), (together, "the tree decides", ACCENT, 0.2))
            for way, label, colour, aside in ways:
                values = [way.levels[name]["accuracy"] for name in names]
                bars = levels.bar(np.arange(len(names)) + aside, values, 0.38, color=colour, label=label)
                levels.bar_label(bars, [f"{value:.1%}" for value in values], fontsize=8, padding=2)
                counts = [way.distances.get(edge, 0) for edge in edges]
                mean = "none" if way.tree_distance is None else f"{way.tree_distance:.2f} on average"
                bars = distances.bar(np.arange(len(edges)) + aside, counts, 0.38, color=colour, label=mean)
                distances.bar_label(bars, [f"{count:,}" for count in counts], fontsize=8, padding=2)
            levels.set_xticks(range(len(names)), names, fontsize=10, color=INK)
            levels.set(ylim=(0, 1.22), ylabel="accuracy", title="from the root's level to the leaves'")
            levels.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
            levels.legend(loc="upper left", ncols=2)
            distances.set_xticks(range(len(edges)), [str(edge) for edge in edges])
            distances.margins(y=0.25)
            distances.set(xlabel="edges between the true leaf and the answered one", ylabel="mistakes")
            distances.legend(loc="upper right", ncols=2)
            distances.set_title(f"alone, {judged.consistency:.1%} of {judged.images:,} images get a path of the tree")
            for axes in (levels, distances):
                axes.tick_params(axis="x", length=0)
        figure.savefig(temporary, metadata={"Software": None})


def draw_panels(judged: Judged, title: str, panel: Panel, path: Path) -> None:
    """A panel for each head, up to three in a row: `draw_reliability`, `draw_roc` or `draw_precision_recall`."""
    columns = min(3, len(judged))
    rows = -(-len(judged) // columns)
    with rc_context(style()), whole_file(path) as temporary:
        figure = Figure(figsize=(columns * SIDE + 0.6, rows * (SIDE + 0.5) + 0.4), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, head) in zip(grid, judged.items(), strict=False):
            axes.set_title(f"{name}  ({head.images:,} images)")
            panel(axes, head)
        for axes in grid[len(judged) :]:
            axes.set_axis_off()
        figure.savefig(temporary, metadata={"Software": None})


def draw_reliability(axes: Axes, head: HeadJudgement) -> None:
    """Accuracy over confidence with the calibration error, above how many images had which confidence."""
    _diagonal(axes, "confidence in the answer", "accuracy")
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


def draw_roc(axes: Axes, head: HeadJudgement) -> None:
    """True positive rate over false positive rate, each class against the rest."""
    _diagonal(axes, "false positive rate", "true positive rate")
    _curves(axes, head, lambda ranking: ranking.roc, "AUC", "lower right")


def draw_precision_recall(axes: Axes, head: HeadJudgement) -> None:
    """Precision over recall, each class against the rest; a threshold is marked where it puts the head."""
    _square(axes, "recall", "precision")
    precision, recall = head.scores.get("precision"), head.scores.get("recall")
    if head.card.threshold is not None and precision is not None and recall is not None:
        wished = head.card.head.threshold
        if wished is not None:
            line = axes.axhline if wished.metric == "precision" else axes.axvline
            label = f"wished on val: {wished.metric} {wished.at_least:.0%}"
            line(wished.at_least, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label=label)
        label = f"threshold {head.card.threshold:.3f}: precision {precision:.1%}, recall {recall:.1%}"
        axes.plot(recall, precision, "o", color=INK, markersize=8, markeredgecolor="white", zorder=5, label=label)
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
        axes.plot(curve.x, curve.y, color=colour, linewidth=1.6, label=f"{drawn(name)}, {area} {curve.area:.3f}")
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
