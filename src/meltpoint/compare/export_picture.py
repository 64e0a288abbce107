"""exports.png: by how much each export differs from the winner, beside the margin; how large and how fast each is."""

from pathlib import Path
from typing import Any

from meltpoint.compare import formatting
from meltpoint.files import whole_file
from meltpoint.offers import Offers

INK, SOFT, GOOD, BAD, GRID = "#1f2933", "#6b7785", "#21714a", "#c8410b", "#e3e8ee"
STYLE: dict[Any, Any] = {
    "font.size": 9, "text.color": INK, "axes.edgecolor": "#b8c2cc",
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "xtick.color": SOFT,
    "figure.dpi": 130, "savefig.dpi": 130, "axes.axisbelow": True, "text.parse_math": False,
}  # fmt: skip


def draw_exports(offers: Offers, path: Path) -> None:
    """Draw `path`: a row for each export, green where it is offered."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = list(offers.exports)[::-1]
    colours = [GOOD if export.offered else BAD for export in shown]
    names = [f"{export.format}{'' if export.offered else ' (refused)'}" for export in shown]
    percent = 1 if offers.metric in formatting.LOSSES else 100
    with mpl.rc_context(STYLE), whole_file(path) as temporary:
        figure = Figure(figsize=(9.2, 1.5 + 0.42 * (len(shown) + 1)), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=[2, 1, 1])
        for number, (export, colour) in enumerate(zip(shown, colours, strict=True)):
            if export.difference is None or export.interval is None:
                left.text(0, number, " the metric cannot tell", va="center", color=SOFT)
                continue
            low, high = (percent * end for end in export.interval)
            left.plot([low, high], [number, number], color=colour, lw=3, solid_capstyle="round", alpha=0.45)
            left.plot(percent * export.difference, number, "o", color=colour, ms=6)
        left.axvline(0, color=SOFT, lw=1)
        left.axvline(-percent * offers.margin, color=BAD, lw=1.2, ls="--")
        left.set_yticks(range(len(shown)), names)
        left.set_ylim(-0.6, len(shown) - 0.4)
        unit = "" if percent == 1 else ", points"
        left.set_title(f"{formatting.METRICS[offers.metric]} against {offers.strategy}{unit}")
        _bars(middle, "ms", [export.costs.latency_p50_ms for export in shown], colours,
              offers.costs.latency_p50_ms if offers.costs else 0.0)  # fmt: skip
        _bars(right, "MB", [export.costs.megabytes for export in shown], colours,
              offers.costs.megabytes if offers.costs else 0.0)  # fmt: skip
        figure.savefig(temporary)


def _bars(axes: Any, title: str, values: list[float], colours: list[str], winner: float) -> None:
    """A bar for each export, and a dotted line where the winner is."""
    axes.barh(range(len(values)), values, color=colours, height=0.5, alpha=0.8)
    axes.axvline(winner, color=INK, lw=1, ls=":")
    axes.set_yticks([])
    axes.set_ylim(-0.6, len(values) - 0.4)
    axes.set_title(f"{title}, of {_figure(winner)}")
    for number, value in enumerate(values):
        axes.text(value, number, f" {_figure(value)}", va="center", fontsize=8)
    axes.set_xlim(0, 1.25 * max([winner, *values, 1e-9]))


def _figure(value: float) -> str:
    """Three digits, or all of a large number."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
