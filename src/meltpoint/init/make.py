"""Data at a path to a params.yaml that fits them and the machine."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meltpoint.forecast.speeds import measure_speeds, write_speeds
from meltpoint.init.build import build
from meltpoint.init.choose import Plan, choose, largest_side
from meltpoint.init.found import SCRATCH, plural
from meltpoint.init.pictures import look_at
from meltpoint.init.report import describe_choices, describe_estimate, describe_found, describe_warnings
from meltpoint.init.splits import choose_splits
from meltpoint.init.survey import survey
from meltpoint.init.write import check, put, render
from meltpoint.params.read import parse_params

TIMED = 160  # pixels that the machine is timed with at most; seconds grow with the area
LOOK = 8.0  # seconds for the pictures
WIDTH = 112  # of lines for people
MEGAPIXELS = 250.0  # larger pictures are reported as unusable


def make_params(path: Path, label: str | None, output: Path, minutes: float, dry_run: bool) -> Iterator[str]:
    """Look at the data at `path`, choose, write `output` unless `dry_run`; lines for people, as they become known.

    Raises:
        UserError: there are no data that the pipeline reads, or they have an error that it would refuse.
    """
    found = survey(path, label)
    files = found.listing.files
    pictures = look_at(list(files["path"]), list(files["origin"]), MEGAPIXELS, LOOK)
    splits = choose_splits(found)
    for line in describe_found(found, pictures, splits):
        indent = " " * (len(line) - len(line.lstrip()))
        yield textwrap.fill(line, WIDTH, subsequent_indent=f"{indent}  ", break_long_words=False)
    for warning in describe_warnings(found, pictures, splits):
        yield textwrap.fill(f"look here: {warning}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    yield ""

    def built(plan: Plan) -> dict[str, Any]:
        return build(found, pictures, splits, plan)

    side = min(TIMED, largest_side(pictures, found.task))
    timed = parse_params(built(Plan(side, 0, 0)), "what init would write")
    outputs = {name: len(found.classes[head.label]) for name, head in timed.heads.items()}
    speeds = measure_speeds([timed.recipe("frozen")], outputs, pictures.seconds)
    choice = choose(found, pictures, splits.ratios, speeds, minutes, built)
    comments = describe_choices(found, pictures, splits, choice, minutes)
    estimate = describe_estimate(choice, speeds, side, minutes)
    yield f"chosen: {choice.params.recipe('frozen').encoder.name}, {choice.plan.words}"
    shown = ["views", "strategies", "encoders"]
    shown += ["compare.metric"] * (choice.params.compare.metric == "balanced_accuracy")
    for key in shown:
        for number, line in enumerate(textwrap.wrap(comments[key], WIDTH - 16)):
            yield f"  {'' if number else key:<16}{line}"
    yield from ["", *estimate, ""]
    title = [
        f"{found.name}: written by `meltpoint init {path} --minutes {minutes:g}`.",
        "Every key is explained in src/meltpoint/params/; edit any of them, and `dvc repro` runs what depends on it.",
        "",
        *(line[0].upper() + line[1:] if not line.startswith(" ") else line for line in estimate),
    ]
    text, table = render(choice.raw, title, comments), found.table
    check(text, choice.params, SCRATCH)
    if dry_run:
        beside = f" and {table.path} ({plural(len(table.rows), 'row')})" if table else ""
        yield f"nothing is written: without --dry-run it would be {output}{beside}"
        return
    kept = put(text, output, table)
    write_speeds(speeds)
    if table:
        yield f"{table.path} is written: {plural(len(table.rows), 'row')} that the pipeline reads"
    yield f"{output} is written" + (f"; what was there is {kept} now" if kept else "")
    yield "next: make repro (or dvc repro, which does the same without the table at its end)"
