"""How pictures of a judgement look: their colours, their letters, and names of the data in them."""

from typing import Any

from meltpoint.terminal import plain

INK, MUTED, LINE, GRID, ACCENT = "#1f2933", "#6b7785", "#b8c2cc", "#e3e8ee", "#d9480f"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "xtick.color": MUTED, "ytick.color": MUTED, "legend.frameon": False,
    "legend.fontsize": 8, "figure.dpi": 130, "savefig.dpi": 130, "axes.axisbelow": True,
    "text.parse_math": False, "text.usetex": False,  # a class may be called $ or \\alpha
}  # fmt: skip


def drawn(name: str) -> str:
    """A name of the data as it is drawn: in one line, and in a legend too, which leaves out what begins with `_`."""
    return f" {plain(name)}" if name.startswith("_") else plain(name)
