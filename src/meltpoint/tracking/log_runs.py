"""Writes a state of the pipeline into MLflow from its files. What is there already is not written again."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from meltpoint.comparison import Comparison
from meltpoint.images.views import open_views
from meltpoint.model.card import Card, read_card, views_of
from meltpoint.tasks.contract import load_registry
from meltpoint.tracking.artifacts import (
    IMAGES_TAG,
    MOST_ROWS,
    TABLES_TAG,
    add_picture,
    digest_of,
    table_tag,
    write_table,
)
from meltpoint.tracking.descriptions import describe_changes, describe_decision, describe_strategy, name_decision
from meltpoint.tracking.pipeline_state import PipelineState, allowed_name
from meltpoint.tracking.run_metrics import cost_metrics, read_repeats, read_scores, read_seconds
from meltpoint.tracking.runs import FINISHED, changes_before, close, open_child, open_parent, parent_name, retire_others
from meltpoint.tracking.store import Point, Store
from meltpoint.tracking.training_curves import LoggedSteps, Tail, now, points_of

if TYPE_CHECKING:
    from mlflow.entities import Run

NOTE = "mlflow.note.content"
SHOWN = "meltpoint.shown"  # tag: digest of the files that were logged
CHARTED = (  # pictures that stand among the charts of a run
    "confusion", "mistakes", "overlays", "iou", "hierarchy", "precision_recall", "roc", "reliability",
)  # fmt: skip
REPORTS = (
    "compare.html", "compare.md", "compare.json", "data.json", "split.json", "duplicates.png",
    "exports.html", "exports.md", "exports.json", "exports.png",  # where there are some
    "augment.png",  # of older states; today each row of views has one
)  # fmt: skip


def log_strategy(store: Store, state: PipelineState, strategy: str, decision: Comparison) -> "Run":
    """The run of a strategy, complete: curves, scores, costs, pictures, its worst mistakes, description."""
    model = state.folder / "models" / strategy
    card, scores, costs = read_card(model), read_scores(state.folder, strategy), cost_metrics(decision, strategy)
    end = state.when or now()
    run = open_child(store, state, strategy, card.key, end - int(read_seconds(state.folder, strategy) * 1000))
    lines, _ = Tail(model / "history.jsonl").read()
    LoggedSteps.of(store, run.info.run_id).add(points_of(lines, run.info.start_time, run.info.end_time or end))
    repeats = read_repeats(state.folder, strategy, card.metric)
    last_steps = {allowed_name(key): int(line["step"]) for line in lines for key in line}
    _log_changed(store, run, {**scores, **costs, **repeats}, last_steps)
    _log_data(store, state, run)
    _log_strategy_files(store, state, run, card)
    store.log(run.info.run_id, tags={NOTE: describe_strategy(card, scores, costs)})
    close(store, run, FINISHED, state.when)
    retire_others(store, state, run)
    return run


def log_decision(store: Store, state: PipelineState, decision: Comparison) -> "Run":
    """The run of the state, complete: its name says the decision, its description why."""
    run = open_parent(store, state)
    params = {**state.shared, **state.rows}
    store.log(run.info.run_id, params=params)
    _log_reports(store, state, run)
    scores = read_scores(state.folder, decision.winner)
    main = [f"{split}/{decision.main}" for split in ("val", "test")]
    _log_changed(store, run, {name: scores[name] for name in main if name in scores}, {})
    note = describe_decision(decision) + describe_changes(changes_before(store, run, params))
    store.log(run.info.run_id, tags={"winner": decision.winner, "verdict": decision.verdict, NOTE: note})
    store.client.update_run(run.info.run_id, name=parent_name(state, name_decision(decision)))
    close(store, run, FINISHED, state.when)
    return run


def _log_changed(store: Store, run: "Run", values: Mapping[str, float], steps: Mapping[str, int]) -> None:
    """Log values that the run does not have yet, so that they are the latest of their metric: at its last of `steps`.

    A metric that has no curve is logged at step 0, which MLflow's pages draw as a bar instead of a line of one point.
    """
    stamp, known = now(), store.client.get_run(run.info.run_id).data.metrics
    new = [Point(key, value, stamp, steps.get(key, 0)) for key, value in values.items() if known.get(key) != value]
    store.log(run.info.run_id, new)


def _log_data(store: Store, state: PipelineState, run: "Run") -> None:
    """Name the images a run was trained and tested on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if run.inputs is not None and run.inputs.dataset_inputs:
        return
    source, digest = json.dumps(state.params["data"]["source"]), state.data[:12]
    inputs = [
        DatasetInput(
            Dataset(f"{state.name} {split}", digest, "meltpoint", source, profile=json.dumps({"num_rows": rows})),
            [InputTag("mlflow.data.context", split)],
        )
        for split, rows in state.splits.items()
    ]
    store.client.log_inputs(run.info.run_id, inputs)


def _log_strategy_files(store: Store, state: PipelineState, run: "Run", card: Card) -> None:
    reports = state.folder / "reports" / "strategies" / card.strategy
    # A stage that was killed leaves halves of files under names that begin with a dot.
    files = sorted(path for path in reports.rglob("*") if path.is_file() and not path.name.startswith("."))
    digest = digest_of([*files, state.folder / "models" / card.strategy / "card.json"], state.folder)
    if run.data.tags.get(SHOWN) == digest:
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(reports, folder, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
        shutil.copyfile(state.folder / "models" / card.strategy / "card.json", folder / "card.json")
        for key in CHARTED:
            if (picture := reports / "pictures" / f"{key}.png").exists():
                add_picture(picture, key, run.info.start_time, folder)
        views, worst = open_views(views_of(card, state.folder)), state.params["evaluate"].get("worst") or 0
        tables = list(load_registry(card.task).tables_of(views, card, worst, reports))
        for table, rows, photographs in tables:
            write_table(rows.head(MOST_ROWS), table, folder, photographs)
        store.client.log_artifacts(run.info.run_id, name)
    tags = {IMAGES_TAG: "True", TABLES_TAG: table_tag([table for table, *_ in tables]), SHOWN: digest}
    store.log(run.info.run_id, tags=tags)


def _log_reports(store: Store, state: PipelineState, run: "Run") -> None:
    names = [*REPORTS, *(f"augment/{row}.png" for row in state.params.get("views", {}))]
    found = [file for name in names if (file := state.folder / "reports" / name).is_file()]
    files = [*found, state.folder / "params.yaml"]
    digest = digest_of(files, state.folder)
    if run.data.tags.get(SHOWN) == digest:
        return
    with TemporaryDirectory() as name:
        for file in files:
            stem = f"augment-{file.stem}" if file.parent.name == "augment" else file.stem
            shutil.copyfile(file, Path(name) / f"{stem}{file.suffix}")
            if file.suffix == ".png":
                add_picture(file, stem, run.info.start_time, Path(name))
        store.client.log_artifacts(run.info.run_id, name)
    store.log(run.info.run_id, tags={IMAGES_TAG: "True", SHOWN: digest})
