"""Confusion as a picture: counts where there is room, the most frequent confusions where there are many classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from meltpoint.evaluate.judgement import HeadJudgement
from meltpoint.evaluate.style import ACCENT, INK, LINE, MUTED, drawn, style
from meltpoint.files import whole_file
from meltpoint.model.card import TreeCard
from meltpoint.tables import Classes

NAMED = 40  # classes whose names fit beside a matrix; of more, the groups that a tree makes are named
GROUPS = 45  # groups whose names fit
LISTED = 18  # confusions that a list holds
LONGEST = 46  # letters of a class in the list
ABREAST, LARGE = 3, 7.6  # matrices in a row, and inches of one that has a row for itself
EMBER = ["#ffffff", "#ffd8bf", "#f08c4a", "#b93815", "#6b1d0b"]


def draw_confusion(
    judged: Mapping[str, HeadJudgement], tree: TreeCard | None, title: str, shares: bool, path: Path
) -> None:
    """Counts, or `shares` of the true class where pixels are counted, coloured by that share.

    A head with many classes has a row for itself, its classes stand together as a tree has them, and its commonest
    confusions are listed.
    """
    small = [(name, head) for name, head in judged.items() if len(head.classes) <= NAMED]
    large = [name for name, head in judged.items() if len(head.classes) > NAMED]
    side = max([4.0, *(0.17 * len(head.classes) + 0.4 for _, head in small)])
    rows = [small[start : start + ABREAST] for start in range(0, len(small), ABREAST)]
    heights = [side + 0.5] * len(rows) + [LARGE] * len(large)
    width = max([len(rows[0]) * side + 0.6 if rows else 0, 13.5 if large else 0])
    with rc_context(style()), whole_file(path) as temporary:
        figure = Figure(figsize=(width, sum(heights) + 0.5), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=False):
            _draw_small(part, row, len(rows[0]), shares)
        for part, name in zip(parts[len(rows) :], large, strict=True):
            _draw_large(part, name, judged, tree)
        figure.savefig(temporary, metadata={"Software": None})


def _draw_small(part: SubFigure, row: Sequence[tuple[str, HeadJudgement]], columns: int, shares: bool) -> None:
    grid = part.subplots(1, columns, squeeze=False).ravel()
    for axes, (name, head) in zip(grid, row, strict=False):
        size, longest = len(head.classes), max(map(len, head.classes))
        _matrix(axes, name, head, np.arange(size))
        names = [_short(label, 28) for label in head.classes]
        small = 8 if size <= 12 else max(6, 8 - size // 16)
        axes.set_xticks(range(size), names, fontsize=small, rotation=0 if size <= 2 and longest <= 16 else 90)
        axes.set_yticks(range(size), names, fontsize=small)
        if size <= 20:
            _counts(axes, head.confusion, shares)
    for axes in grid[len(row) :]:
        axes.set_axis_off()


def _draw_large(part: SubFigure, name: str, judged: Mapping[str, HeadJudgement], tree: TreeCard | None) -> None:
    head = judged[name]
    matrix, listed = part.subplots(1, 2, width_ratios=[1, 0.62])
    order, groups = arrange(name, {other: known.classes for other, known in judged.items()}, tree)
    _matrix(matrix, name, head, np.array(order))
    matrix.set_xticks([])
    matrix.set_yticks([])
    if groups and len(groups) <= GROUPS:
        sizes = np.array(list(groups.values()))
        ends = np.cumsum(sizes)
        for end in ends[:-1] - 0.5:
            matrix.axhline(end, color=LINE, linewidth=0.5)
            matrix.axvline(end, color=LINE, linewidth=0.5)
        names = [_short(label, 28) for label in groups]
        matrix.set_xticks(ends - sizes / 2 - 0.5, names, fontsize=6, rotation=90)
        matrix.set_yticks(ends - sizes / 2 - 0.5, names, fontsize=6)
    what = "in the order of the tree" if groups else "in the order of their ids"
    matrix.set_xlabel(f"predicted: {len(order)} classes, {what}")
    _list_confusions(listed, head)


def arrange(name: str, classes: Classes, tree: TreeCard | None) -> tuple[list[int], dict[str, int]]:
    """The class ids of a head in the order in which a tree has them, and how many each parent has.

    `classes` are those of every head. A head that is no level of the tree, or its first, has no parents.
    """
    if tree is None or name not in tree.levels[1:]:
        return list(range(len(classes[name]))), {}
    ids = [{label: at for at, label in enumerate(classes[level])} for level in tree.levels]
    depth = tree.levels.index(name)

    def ancestors(label: str) -> list[int]:
        path = [ids[depth][label]]
        for above in range(depth, 0, -1):
            label = tree.parents[tree.levels[above]].get(label, "")
            path.append(ids[above - 1].get(label, -1))
        return path[::-1]

    order = sorted(classes[name], key=ancestors)
    groups = Counter(tree.parents[name].get(label, "") for label in order)
    return [ids[depth][label] for label in order], dict(groups)


def commonest(head: HeadJudgement) -> list[tuple[str, str, int, float]]:
    """The most frequent confusions: true class, answered class, images, share of the true class."""
    wrong = head.confusion.copy()
    np.fill_diagonal(wrong, 0)
    cells = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    rows, columns = np.unravel_index(cells, wrong.shape)
    there = head.confusion.sum(1)
    return [
        (head.classes[row], head.classes[column], int(wrong[row, column]), float(wrong[row, column] / there[row]))
        for row, column in zip(rows, columns, strict=True)
        if wrong[row, column]
    ]


def _matrix(axes: Axes, name: str, head: HeadJudgement, order: NDArray[np.int64]) -> None:
    axes.set_title(f"{name}  ({head.images:,} images)")
    counts = head.confusion[np.ix_(order, order)]
    share, size = counts / np.maximum(counts.sum(1, keepdims=True), 1), len(counts)
    # among many classes single mistakes are faint: their colours are spread
    colours = LinearSegmentedColormap.from_list("ember", EMBER)
    axes.imshow(share, cmap=colours, norm=PowerNorm(1 if size <= 20 else 0.5, 0, 1))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")


def _counts(axes: Axes, counts: np.ndarray, shares: bool) -> None:
    share, size = counts / np.maximum(counts.sum(1, keepdims=True), 1), len(counts)
    for row, column in np.ndindex(size, size):
        if size > 6 and not (share[row, column] >= 0.005 if shares else counts[row, column]):
            continue
        text = f"{counts[row, column]:,}" + (f"\n{share[row, column]:.0%}" if size <= 6 else "")
        text = f"{share[row, column]:.0%}" if shares else text
        colour = "white" if share[row, column] > 0.55 else INK
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10 if size <= 6 else 6)


def _list_confusions(axes: Axes, head: HeadJudgement) -> None:
    found = commonest(head)
    axes.set_title("most frequent confusions (share of the class)")
    if not found:
        axes.text(0.5, 0.5, "no mistakes", ha="center", va="center", color=MUTED)
        return axes.set_axis_off()
    counts = [count for _, _, count, _ in found]
    bars = axes.barh(range(len(found)), counts, 0.55, color=ACCENT, alpha=0.85)
    axes.bar_label(bars, [f"{count:,}  ({share:.0%})" for _, _, count, share in found], fontsize=7, padding=3)
    names = [f"{_short(true, LONGEST)}\nread as {_short(said, LONGEST)}" for true, said, _, _ in found]
    axes.set_yticks(range(len(found)), names, fontsize=7, color=INK)
    axes.set_ylim(max(LISTED, len(found)) - 0.4, -0.6)
    axes.set_xlim(0, max(counts) * 1.35)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    return None


def _short(text: str, most: int) -> str:
    text = drawn(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
