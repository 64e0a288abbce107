"""Predicted masks over their images, to be looked at: the best, the middle and the worst, with what was wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray

from meltpoint.arrays import Floats, Pixels
from meltpoint.evaluate.style import ACCENT, LINE, MUTED, drawn, style
from meltpoint.files import whole_file
from meltpoint.images.views import Views
from meltpoint.model.card import Card, HeadCard
from meltpoint.tables import IGNORED
from meltpoint.tasks.segmentation.pixel_counts import score_images

PANELS = ("image", "truth", "answer", "errors")
SIDE = 2.3  # inches of a panel
COLUMNS = 7  # names in a line of the legend
SHARE = 8  # one in so many of the pictures of a contact sheet: each is a row of four panels here, in three groups
BLEND = 0.62  # of a class's colour over the image
STRIPE = 4  # pixels of the stripes that mean ignored


@dataclass(frozen=True)
class Shown:
    """An image uint8 (S, S, 3), its true and its predicted mask uint8 (S, S), and what is said of it."""

    caption: str
    image: Pixels
    truth: Pixels
    said: Pixels


def choose(images: int, each: int) -> dict[str, list[int]]:
    """Places among images in rising order: `each` best, middle and worst, fewer where images are few, none twice."""
    order, each = list(range(images)), min(each, -(-images // 3))
    worst, rest = order[:each], order[each:]
    best, rest = rest[::-1][:each], rest[: max(0, len(rest) - each)]
    start = max(0, (len(rest) - each) // 2)
    return {"best": best, "middle": rest[start : start + each][::-1], "worst": worst}


def show_images(
    predictions: pd.DataFrame,
    card: Card,
    answer: Callable[[NDArray[np.int64]], Mapping[str, Pixels]],
    views: Views,
    worst: int,
) -> list[Shown]:
    """Images of test by their own IoU on the main head, best first; `worst` is the number for a contact sheet.

    `answer` gives the masks uint8 (n, S, S) of each head for some rows of the views.
    """
    main = card.main_head
    scored = score_images(predictions, main, card.classes[main])
    chosen = choose(len(scored), -(-worst // SHARE))
    places = [place for group in chosen.values() for place in group]
    names = [name for name, group in chosen.items() for _ in group]
    if not places:
        return []
    shown = scored.iloc[places]
    rows = np.searchsorted(views.samples["id"].to_numpy(), shown["id"].to_numpy()).astype(np.int64)
    said, masks = answer(rows)[main], views.masks
    assert masks is not None, "views of a segmentation have masks"
    return [
        Shown(
            caption=f"{name}: IoU {iou:.1%}, {drawn(Path(path).name)}",
            image=np.asarray(views.plain[row]),
            truth=np.asarray(masks[row]),
            said=np.asarray(answer),
        )
        for name, iou, path, row, answer in zip(names, shown["iou"], shown["path"], rows, said, strict=True)
    ]


def draw_overlays(shown: Sequence[Shown], head: HeadCard, title: str, path: Path) -> None:
    """A row for each image: itself, the truth, the answer, and its errors; the legend names the classes in them."""
    colours = palette_of(head)
    seen = {int(code) for own in shown for mask in (own.truth, own.said) for code in np.unique(mask)}
    names = [
        Patch(facecolor=tuple(colours[code]), edgecolor=LINE, label=drawn(name))
        for code, name in enumerate(head.classes)
        if code in seen
    ]
    if IGNORED in seen:
        names.append(Patch(facecolor="#cdcdcd", edgecolor="#ebebeb", hatch="////", label="ignored"))
    names.append(Patch(facecolor=ACCENT, edgecolor=LINE, label="wrong"))
    rows, lines = max(1, len(shown)), -(-len(names) // COLUMNS)
    heights = [0.45 + 0.22 * lines, rows * (SIDE + 0.32)]
    with rc_context(style()), whole_file(path) as temporary:
        figure = Figure(figsize=(len(PANELS) * SIDE + 0.3, sum(heights)), layout=ConstrainedLayoutEngine(h_pad=0.09))
        above, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        above.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        above.legend(handles=names, loc="lower left", ncols=COLUMNS, handlelength=1.2)
        grid = below.subplots(rows, len(PANELS), squeeze=False)
        for axes in grid.ravel():
            axes.set_axis_off()
        for line, own in zip(grid, shown, strict=False):
            truth, said = (paint(own.image, mask, colours) for mask in (own.truth, own.said))
            painted = (own.image, truth, said, paint_errors(own.image, own.truth, own.said))
            for axes, pixels, name in zip(line, painted, PANELS, strict=True):
                axes.imshow(pixels)
                axes.text(0.5, -0.02, name, transform=axes.transAxes, ha="center", va="top", color=MUTED, fontsize=8)
            line[0].set_title(own.caption, fontsize=9, loc="left")
        if not shown:
            grid[0, 0].text(0, 0.5, "no labelled images\nto draw from", va="center", color=MUTED)
        figure.savefig(temporary, metadata={"Software": None})


def paint(image: Pixels, mask: Pixels, colours: Floats) -> Pixels:
    """The colours (C, 3) in [0, 1] of a mask over its image, uint8 (H, W, 3); what is ignored is striped."""
    table = np.zeros((256, 3))
    table[: len(colours)] = colours * 255
    mixed = (1 - BLEND) * image + BLEND * table[mask]
    return np.where((mask == IGNORED)[..., None], _stripes(image), mixed).astype(np.uint8)


def paint_errors(image: Pixels, truth: Pixels, said: Pixels) -> Pixels:
    """Wrong pixels in a warm colour over a pale grey image, uint8 (H, W, 3); what is ignored is striped."""
    pale = np.repeat(255 - 0.4 * (255 - image.mean(-1, keepdims=True)), 3, axis=-1)
    warm = 0.2 * pale + 0.8 * 255 * np.asarray(to_rgb(ACCENT))
    painted = np.where((said != truth)[..., None], warm, pale)
    return np.where((truth == IGNORED)[..., None], _stripes(image), painted).astype(np.uint8)


def palette_of(head: HeadCard) -> Floats:
    """The colours (C, 3) of a head's classes, in [0, 1]."""
    assert head.colours is not None, "a head of masks has colours"
    return np.array([to_rgb(colour) for colour in head.colours], dtype=np.float64)


def _stripes(image: Pixels) -> Floats:
    down, across = np.indices(image.shape[:2])
    light = np.where((down + across) // STRIPE % 2, 235.0, 205.0)[..., None]
    return np.asarray(0.25 * image + 0.75 * light)
