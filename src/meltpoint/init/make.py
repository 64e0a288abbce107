"""Data at a path to a params.yaml that fits them and the machine."""

import shutil
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.forecast.speeds import Speeds, write_speeds
from meltpoint.init.build import build
from meltpoint.init.choose import Choice, Plan, choose, largest_side
from meltpoint.init.found import SCRATCH, Found, Wish, plural
from meltpoint.init.pictures import Pictures, look_at
from meltpoint.init.report import tell_choices, tell_estimate, tell_found, tell_warnings
from meltpoint.init.splits import choose_splits
from meltpoint.init.survey import survey
from meltpoint.init.write import check, put, render
from meltpoint.params.read import Params, parse_params

TIMED = 160  # pixels that the machine is timed with at most; seconds grow with the area
LOOK = 8.0  # seconds for the pictures
WIDTH = 112  # of lines for people
MEGAPIXELS = 250.0  # larger pictures are told as unusable


@dataclass(frozen=True)
class Order:
    """What `meltpoint init` is asked."""

    path: Path
    label: str | None
    output: Path
    minutes: float
    dry_run: bool


def make_params(order: Order) -> Iterator[str]:
    """Look, choose, write; lines for people, as they become known.

    Raises:
        UserError: there are no data that the pipeline reads, or they have a flaw that it would refuse.
    """
    try:
        yield from _made(order)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


def _made(order: Order) -> Iterator[str]:
    found = survey(order.path, Wish(order.label, Path()))
    files = found.listing.files
    pictures = look_at(list(files["path"]), list(files["origin"]), MEGAPIXELS, LOOK)
    splits = choose_splits(found)
    for line in tell_found(found, pictures, splits):
        indent = " " * (len(line) - len(line.lstrip()))
        yield textwrap.fill(line, WIDTH, subsequent_indent=f"{indent}  ", break_long_words=False)
    for warning in tell_warnings(found, pictures, splits):
        yield textwrap.fill(f"look here: {warning}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield ""

    def built(plan: Plan) -> dict[str, Any]:
        return build(found, pictures, splits, plan)

    timed = min(TIMED, largest_side(pictures, found.task == "segmentation"))
    speeds = _measured(parse_params(built(Plan(timed, 0, 0)), "what init would write"), found, pictures)
    choice = choose(found, pictures, splits.ratios, speeds, order.minutes, built)
    comments = tell_choices(found, pictures, splits, choice, order.minutes)
    estimate = tell_estimate(choice, speeds, order.minutes)
    yield from _chosen(comments, choice)
    yield from ["", *estimate, ""]
    text = render(choice.raw, _title(order, found, estimate), comments)
    check(text, choice.params, SCRATCH)
    yield from _written(order, found, text, speeds)


def _measured(params: Params, found: Found, pictures: Pictures) -> Speeds:
    """The speeds of this machine with that model."""
    begin = time.process_time()
    from meltpoint.forecast.measure import measure  # torch and timm take seconds, as they do in each stage

    start = time.process_time() - begin
    outputs = {name: len(found.classes[head.label]) for name, head in params.heads.items()}
    recipe = params.recipe("frozen")
    return measure(recipe.encoder, params.heads, outputs, recipe.views.side, max(start, 1.0), pictures.seconds)


def _chosen(comments: dict[str, str], choice: Choice) -> Iterator[str]:
    yield f"chosen: {choice.params.recipe('frozen').encoder.name}, {choice.plan.words}"
    told = ["views", "strategies", "encoders"]
    told += ["compare.metric"] * (choice.params.compare.metric == "balanced_accuracy")
    for key in told:
        lines = textwrap.wrap(comments[key], WIDTH - 16)
        yield from (f"  {key if not number else '':<16}{line}" for number, line in enumerate(lines))


def _title(order: Order, found: Found, estimate: list[str]) -> list[str]:
    return [
        f"{found.name}: written by `meltpoint init {order.path} --minutes {order.minutes:g}`.",
        "Every key is explained in src/meltpoint/params/; edit any of them, and `dvc repro` runs what depends on it.",
        "",
        *(line[0].upper() + line[1:] if not line.startswith(" ") else line for line in estimate),
    ]


def _written(order: Order, found: Found, text: str, speeds: Speeds) -> Iterator[str]:
    table = found.table
    if order.dry_run:
        beside = f" and {table.path} ({plural(len(table.rows), 'row')})" if table else ""
        yield f"nothing is written: without --dry-run it would be {order.output}{beside}"
        return
    kept = put(text, order.output, table)
    write_speeds(speeds)
    if table:
        yield f"{table.path} is written: {plural(len(table.rows), 'row')} that the pipeline reads"
    yield f"{order.output} is written" + (f"; what was there is {kept} now" if kept else "")
    yield "next: make repro (or dvc repro, which does the same without the table at its end)"
