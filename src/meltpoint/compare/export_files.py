"""What was found of the exports as files: exports.json for programs, .md for a terminal, .png, and .html for people."""

from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from meltpoint.compare import formatting
from meltpoint.compare.export_picture import draw_exports
from meltpoint.compare.exports import SAME
from meltpoint.compare.pictures import embed_picture
from meltpoint.compare.table import align
from meltpoint.files import whole_file
from meltpoint.offers import Costs, OfferedExport, Offers, write_offers

TITLES = [
    "", "standing", "test", "difference", "interval", "at least", "agreement", "MB", "ms", "ms, slowest 5%", "images/s",
]  # fmt: skip


def write_report(offers: Offers, reports: Path) -> None:
    """Write `reports`/exports.json, exports.md, exports.html and the picture exports.png."""
    write_offers(offers, reports / "exports.json")
    draw_exports(offers, reports / "exports.png")
    for name, text in (("exports.md", write_text(offers)), ("exports.html", _render(offers, reports / "exports.png"))):
        with whole_file(reports / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def write_text(offers: Offers) -> str:
    """exports.md: the sentence and a table whose columns line up in a terminal too."""
    lines = [f"# Exports of {offers.strategy}", "", formatting.markdown(offers.sentence)]
    if offers.exports:
        lines += ["", *align(table_of(offers)), "", explain(offers)]
    return "\n".join([*lines, ""])


def table_of(offers: Offers) -> list[list[str]]:
    """The titles, the winner, and each export, as cells of text."""
    assert offers.costs is not None, "where there are exports the winner was timed, too"
    scored = formatting.value_of(offers.metric, offers.test)
    missing = formatting.MISSING
    winner = [offers.strategy, "the winner", scored, *[missing] * 4, *_costs(offers.costs)]
    return [TITLES, winner, *(_row(export, offers.metric) for export in offers.exports)]


def explain(offers: Offers) -> str:
    """What the columns of the table are; the sentence above it says why what is refused is."""
    metric, unit = formatting.METRICS[offers.metric], "" if offers.metric in formatting.LOSSES else ", in points"
    gap = formatting.gap_of(offers.metric, offers.margin)
    return formatting.markdown(
        f"Test and difference are of {metric} on {offers.head}{unit}; above 0 the export is better. At least: the"
        f" difference that test shows with {offers.confidence:.0%} confidence; an export is offered where that loss is"
        f" less than {gap}, or where no probability is further from the winner's than {SAME:g}, as on another machine."
        " Agreement: how much of the answers is the winner's. Times: one image, all models in turn in one process."
    )


def _row(export: OfferedExport, metric: str) -> list[str]:
    missing = formatting.MISSING
    gain, spread = missing, missing
    if export.difference is not None and export.interval is not None:
        gain = formatting.gain_of(metric, export.difference)
        spread = " to ".join(formatting.gain_of(metric, end) for end in export.interval)
    return [
        export.format,
        "offered" if export.offered else "refused",
        formatting.value_of(metric, export.test),
        gain,
        spread,
        missing if export.at_least is None else formatting.gain_of(metric, export.at_least),
        _agreement(export),
        *_costs(export.costs),
    ]


def _agreement(export: OfferedExport) -> str:
    share = f"{export.agreement:.2%}".replace("100.00%", "100%")
    if export.agreement_interval is None:
        return share
    low, high = (f"{end:.2%}".replace("100.00%", "100%") for end in export.agreement_interval)
    return f"{share} ({low} to {high})"


def _costs(costs: Costs) -> list[str]:
    numbers = (costs.megabytes, costs.latency_p50_ms, costs.latency_p95_ms, costs.throughput_per_second)
    return [f"{number:.3g}" if number < 1000 else f"{number:,.0f}" for number in numbers]


def _render(offers: Offers, picture: Path) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("meltpoint.compare").joinpath("templates", "exports.html").read_text(encoding="utf-8")
    titles, *rows = table_of(offers) if offers.exports else [TITLES]
    return environment.from_string(source).render(
        offers=offers, titles=titles, rows=rows, picture=embed_picture(picture),
        about=explain(offers) if offers.exports else "",
    )  # fmt: skip
