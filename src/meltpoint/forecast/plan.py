"""Which stages `dvc repro` will run, why, and about how long each takes: as the last time, or estimated."""

import gc
import os
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.data.fingerprint import FINGERPRINT, FORMATS, Fingerprint, fingerprint_sources
from meltpoint.data.listing import SourceError, locate
from meltpoint.data.shard_files import find_shards
from meltpoint.duplicate import about_comparing
from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.forecast.speeds import Speeds, measure_speeds, read_speeds, write_speeds
from meltpoint.forecast.stages import Load, export_seconds, in_words, stage_seconds
from meltpoint.params.data import Ratios
from meltpoint.params.read import read_params
from meltpoint.params.recipe import Recipe
from meltpoint.params.sources import ArchiveSource, MasksSource, ParquetSource, Source, WebdatasetSource
from meltpoint.progress import timed_file

PARAMS = "params.yaml"
LOOK = "fingerprint"  # the stage that always runs
NEW = "has not run here"
SHOWN = 3  # changed params or files that are named


class PlanError(UserError, RuntimeError):
    """DVC cannot say what it would run."""


@dataclass(frozen=True)
class Step:
    """A stage that will run. seconds: None where nothing is known; origin: where they come from."""

    stage: str
    seconds: float | None
    origin: str
    reason: str


@dataclass(frozen=True)
class Graph:
    """By stage, in the order of running, the stages it depends on, and the files that it reads."""

    above: dict[str, list[str]]
    reads: dict[str, set[str]]


def plan(measure: bool) -> list[str]:
    """The stages that will run in this folder, in their order, in lines for people.

    With `measure` this machine is timed first with each encoder of params.yaml.

    Raises:
        PlanError: DVC cannot read dvc.yaml, or another one of its commands is running.
        ParamsError: params.yaml cannot be used.
    """
    params = read_params(Path(PARAMS))
    recipes = {name: params.recipe(name) for name in params.strategies}
    if measure:
        classes = {name: label.classes or () for name, label in params.data.labels.items()}
        outputs = {name: max(2, len(classes[head.label])) for name, head in params.heads.items()}
        own = {recipe.settings.encoder: recipe for recipe in recipes.values()}
        write_speeds(measure_speeds(list(own.values()), outputs, read_speeds().decode))
    graph, status = _ask_dvc()
    weights = {name: encoder.weights for name, encoder in params.encoders.items()}
    found = fingerprint_sources(params.data, weights, params.taps, params.queries, params.exports)
    look_at_files(graph, status, found)
    load = _count(params.data.source, found.parts["source"]["files"], params.split.ratios, status)
    speeds = read_speeds()
    tables, estimated = None, dict[str, float]()
    if load:
        tables = params.split.duplicates.tables_of(load.images)
        estimated = stage_seconds(recipes, tables, params.embed.max_gb, params.evaluate, load, speeds)
        estimated |= export_seconds(params.export.asked, recipes, params.evaluate, load, speeds)
    steps = list(find_steps(graph.above, status, estimated))
    if not steps:
        return [f"dvc repro has nothing to do: its {len(graph.above)} stages are up to date."]
    lines = [f"dvc repro will run {len(steps)} of {len(graph.above)} stages:"]
    for step in steps:
        words = "?" if step.seconds is None else in_words(step.seconds)
        lines.append(f"  {step.stage:<20}{words:>8}  {step.origin:<15}{step.reason}")
    known = [step.seconds for step in steps if step.seconds is not None]
    some = "" if len(known) == len(steps) else ", without the unknown ones"
    total = f"  {'in all':<20}{in_words(sum(known)):>8}{some}"
    lines.append(f"{total}  less if DVC has a result in its cache; more on a busy machine")
    if load and "split" in {step.stage for step in steps} and (long := about_comparing(load.images, tables)):
        lines.append(f"  split: {long}")
    others = {"embed.engine": params.embed.engine, "train.nodes": (params.train.nodes or 1) > 1}
    if (asked := [key for key, value in others.items() if value]) and "estimated" in {step.origin for step in steps}:
        lines.append(
            f"  Estimates are of this machine alone: others that come by {' and '.join(asked)} are not counted."
        )
    return lines + _explain(steps, recipes, speeds)


def _explain(steps: Sequence[Step], recipes: Mapping[str, Recipe], speeds: Speeds) -> list[str]:
    """Where the speed of each encoder comes from that an estimate is made of."""
    names = {step.stage for step in steps if step.origin == "estimated"}
    used = {
        recipe.settings.encoder: recipe
        for name, recipe in recipes.items()
        if names & {f"embed@{recipe.settings.encoder}", f"train@{name}", f"evaluate@{name}", "speed", "register"}
    }
    origins = {
        f"{name} at {recipe.views.side} px": speeds.describe(recipe.encoder, recipe.views.side)
        for name, recipe in used.items()
    }
    lines = [f"  {encoder}: {origin}" for encoder, origin in origins.items()]
    if any(origin != "measured here" for origin in origins.values()):
        lines.append("  To measure every encoder on this machine, some seconds each: meltpoint plan --measure")
    return lines


def _ask_dvc() -> tuple[Graph, dict[str, Any]]:
    """The stages, and what DVC finds changed; under one lock, so that it reads its files once.

    DVC makes some objects for each file, which live until it ends: the collector of dead objects would take a third of
    its time.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo
    from dvc.scm import SCMError

    gc.disable()
    try:
        with Repo() as repo, lock_repo(repo):
            graph = repo.index.graph
            above = {stage.addressing: [other.addressing for other in graph.successors(stage)] for stage in graph}
            reads = {stage.addressing: {str(dep.def_path) for dep in stage.deps} for stage in graph}
            status: dict[str, Any] = repo.status()
    except SCMError as error:
        raise PlanError(
            f"DVC cannot say what it would run: {error}. Make it one: git init. Or let DVC work without git: dvc config"
            " core.no_scm true"
        ) from None
    except DvcException as error:
        raise PlanError(
            f"DVC cannot say what it would run: {error}. Correct dvc.yaml, or wait until the other command has ended."
        ) from None
    finally:
        gc.enable()
    order: dict[str, list[str]] = {}  # each stage behind those that it depends on, else as they stand
    while len(order) < len(above):
        ready = (stage for stage, others in above.items() if stage not in order and all(one in order for one in others))
        stage = next(ready)
        order[stage] = above[stage]
    return Graph(order, reads), status


def look_at_files(graph: Graph, status: dict[str, Any], found: Fingerprint) -> None:
    """Remove the stage that always runs from `status`, and add what it would find changed to the stages behind it."""
    if status.get(LOOK) != ["always changed"]:
        return
    del status[LOOK]
    for path, now in found.files.items():
        written = Path("data") / path
        try:
            if read_json(written) == now:
                continue
        except (OSError, ValueError):
            pass  # not written yet, or damaged: as good as changed
        what = {FINGERPRINT: "files of the source", FORMATS: "rows of export"}.get(
            path, f"weights or taps of {path.stem}"
        )
        for stage in graph.above:
            if written.as_posix() in graph.reads[stage]:
                status[stage] = [*status.get(stage, []), {"changed deps": {what: "modified"}}]


def find_steps(
    stages: Mapping[str, list[str]], status: Mapping[str, Any], estimated: Mapping[str, float]
) -> Iterator[Step]:
    """The stages that will run, by what DVC says of each; `estimated` are seconds where the last run says nothing."""
    running: set[str] = set()
    edited: set[str] = set()  # stages whose params, or those of one before, are others than the last time
    for stage, above in stages.items():
        changes = status.get(stage, [])
        reason = _reason(changes, [other for other in above if other in running])
        if _changed_params(changes) or any(other in edited for other in above):
            edited.add(stage)
        if reason is None:
            continue
        running.add(stage)
        last = None if stage in edited else _last(stage)
        if last is not None:
            yield Step(stage, last[0], f"as {last[1]}", reason)
        else:
            yield Step(stage, estimated.get(stage), "estimated" if stage in estimated else "", reason)


def _reason(changes: Sequence[Any], above: list[str]) -> str | None:
    """Why a stage will run, in brief; None if it will not."""
    after = f"after {above[0]}" if above else None
    if not changes:
        return after
    deps, outs = _part(changes, "changed deps"), _part(changes, "changed outs")
    files = [path for path in deps if path != PARAMS]
    code = [Path(path).name for path in files if path.startswith(("src/", "stages/"))]
    if deps.get(PARAMS) == "new":  # and names no param: the stage has not run
        return NEW
    if "changed command" in changes:
        return "its command has changed"
    if named := _changed_params(changes):
        return f"changed: {_few(named)}"
    if code:
        return f"changed code: {_few(code)}"
    return after or (f"changed: {_few(files)}" if files else f"missing: {_few(list(outs))}" if outs else NEW)


def _changed_params(changes: Sequence[Any]) -> list[str]:
    named = _part(changes, "changed deps").get(PARAMS)
    return list(named) if isinstance(named, dict) else []


def _part(changes: Sequence[Any], key: str) -> dict[str, Any]:
    """What DVC says of the files of one kind: path to what happened to it."""
    return {path: what for one in changes if isinstance(one, dict) for path, what in one.get(key, {}).items()}


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _last(stage: str) -> tuple[float, str] | None:
    """Seconds that a stage took here the last time, and the day; those of its costs, where only these are there."""
    file = timed_file(stage)
    kind, _, name = stage.partition("@")
    cost = Path("reports/costs") / f"{'predict' if kind == 'evaluate' else kind}{'-' if name else ''}{name}.json"
    for path in (file, cost):
        try:
            day = time.strftime("on %d %b", time.localtime(path.stat().st_mtime)) if path == file else "in its report"
            return float(read_json(path)["seconds"]), day
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _count(source: Source, files: int, ratios: Ratios, status: Mapping[str, Any]) -> Load | None:
    """The images as the split stage wrote them, or about as many as the source has; None if that is not known."""
    tables = [Path("data/splits") / f"{split}.csv" for split in ("train", "val", "test")]
    if not _changed_params(status.get("download", [])) and all(table.exists() for table in tables):
        train, val, test = (table.read_bytes().count(b"\n") - 1 for table in tables)
        return Load(train + val + test, train, val, test)
    images = count_images(source, files)
    return Load.shared(images, ratios.model_dump()) if images else None


def count_images(source: Source, files: int) -> int:
    """About how many images a source of so many files has, without reading any; 0 if that is not known."""
    match source:
        case MasksSource():
            folders = [locate(str(Path(source.path, folder))) for folder in source.masks.values()]
            return sum(len(names) for folder in folders for _, _, names in os.walk(folder))
        case ArchiveSource():
            try:
                with zipfile.ZipFile(locate(source.location)) as archive:
                    return sum(not name.endswith(("/", ".csv", ".txt")) for name in archive.namelist())
            except (OSError, ValueError, SourceError, zipfile.BadZipFile):
                return 0
        case ParquetSource():
            return _rows(source)
        case WebdatasetSource():
            return 0
        case _:
            return files


def _rows(source: ParquetSource) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        shards = find_shards(source.path, source.files, "data.source.files")
        return sum(0 if shard.system else pq.read_metadata(shard.where).num_rows for shard in shards)
    except (OSError, SourceError, pa.ArrowException):
        return 0
