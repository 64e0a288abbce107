"""How pictures of a judgement look: their colours, their letters, and names of the data in them."""

import logging
from functools import cache
from typing import Any

from meltpoint.images.fonts import font_files
from meltpoint.terminal import plain

INK, MUTED, LINE, GRID, ACCENT = "#1f2933", "#6b7785", "#b8c2cc", "#e3e8ee", "#d9480f"
FAMILIES = ("DejaVu Sans", "Noto Sans CJK SC")  # a letter is drawn by the first that has it
STYLE: dict[Any, Any] = {
    "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "xtick.color": MUTED, "ytick.color": MUTED, "legend.frameon": False,
    "legend.fontsize": 8, "figure.dpi": 130, "savefig.dpi": 130, "axes.axisbelow": True,
    "text.parse_math": False, "text.usetex": False,  # a class may be called $ or \\alpha
}  # fmt: skip


@cache
def style() -> dict[Any, Any]:
    """The settings of matplotlib for every picture; letters that its own font lacks are those of the next one."""
    from matplotlib.font_manager import fontManager

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # the fonts of the packages have one weight
    for file in font_files():
        fontManager.addfont(file)
    known = {font.name for font in fontManager.ttflist}
    return {**STYLE, "font.family": [name for name in FAMILIES if name in known]}


def drawn(name: str) -> str:
    """A name of the data as it is drawn: in one line, and in a legend too, which leaves out what begins with `_`."""
    return f" {plain(name)}" if name.startswith("_") else plain(name)
