"""Which stages `dvc repro` will run, why, and about how long each takes: as the last time, or estimated."""

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.data.fingerprint import FINGERPRINT, fingerprint
from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.forecast.counting import count_images
from meltpoint.forecast.speeds import read_speeds
from meltpoint.forecast.stages import Load, in_words, stage_seconds
from meltpoint.params.read import Params, read_params
from meltpoint.progress import timed_file

PARAMS = "params.yaml"
LOOK = "fingerprint"  # the stage that always runs
NEW = "has not run here"
TOLD = 3  # changed params or files that are named


class PlanError(UserError, RuntimeError):
    """DVC cannot say what it would run."""


@dataclass(frozen=True)
class Step:
    """A stage that will run. seconds: None where nothing is known; origin: what they are from."""

    stage: str
    seconds: float | None
    origin: str
    reason: str


@dataclass(frozen=True)
class Graph:
    """By stage, in the order of running, the stages it depends on, and the files that it reads."""

    above: dict[str, list[str]]
    reads: dict[str, set[str]]


def plan() -> list[str]:
    """The stages that will run in this folder, in their order, in lines for people.

    Raises:
        PlanError: DVC cannot read dvc.yaml, or another one of its commands is running.
        ParamsError: params.yaml cannot be used.
    """
    params = read_params(Path(PARAMS))
    graph, status = _ask_dvc()
    _look_at_files(graph, status, params)
    stages = graph.above
    steps = list(_steps(stages, status, params))
    if not steps:
        return [f"dvc repro has nothing to do: its {len(stages)} stages are up to date."]
    lines = [f"dvc repro will run {len(steps)} of {len(stages)} stages:"]
    for step in steps:
        words = "?" if step.seconds is None else in_words(step.seconds)
        lines.append(f"  {step.stage:<20}{words:>8}  {step.origin:<15}{step.reason}")
    known = [step.seconds for step in steps if step.seconds is not None]
    some = "" if len(known) == len(steps) else ", and what is not known"
    lines.append(
        f"  {'in all':<20}{in_words(sum(known)):>8}{some}  less where DVC has a result already; more on a busy machine"
    )
    return lines


def _ask_dvc() -> tuple[Graph, dict[str, Any]]:
    """The stages, and what DVC finds changed; under one lock, so that it reads its files once."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo
    from dvc.scm import SCMError

    try:
        with _without_collector(), Repo() as repo, lock_repo(repo):
            graph = repo.index.graph
            above = {stage.addressing: [other.addressing for other in graph.successors(stage)] for stage in graph}
            reads = {stage.addressing: {str(dep.def_path) for dep in stage.deps} for stage in graph}
            status: dict[str, Any] = repo.status()
    except SCMError as error:
        raise PlanError(
            f"DVC cannot say what it would run: {error}. Make it one: git init. Or let DVC do without: "
            "dvc config core.no_scm true"
        ) from None
    except DvcException as error:
        raise PlanError(
            f"DVC cannot say what it would run: {error}. Correct dvc.yaml, or wait for the other one."
        ) from None
    return Graph(_ordered(above), reads), status


@contextmanager
def _without_collector() -> Iterator[None]:
    """DVC makes some objects for each file, which live until it ends: to look for dead ones is a third of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _look_at_files(graph: Graph, status: dict[str, Any], params: Params) -> None:
    """Take out the stage that always runs, and say of the stages behind it which of the files it looks at have changed.

    Raises:
        SourceError: the source is not there.
    """
    if status.get(LOOK) != ["always changed"]:
        return
    del status[LOOK]
    found = fingerprint(params.data, {name: encoder.weights for name, encoder in params.encoders.items()}, params.taps)
    for path, now in found.files.items():
        written = Path("data") / path
        if _holds(written, now):
            continue
        told = "files of the source" if path == FINGERPRINT else f"weights or taps of {path.stem}"
        for stage in graph.above:
            if written.as_posix() in graph.reads[stage]:
                status[stage] = [*status.get(stage, []), {"changed deps": {told: "modified"}}]


def _holds(path: Path, value: Any) -> bool:
    try:
        return bool(read_json(path) == value)
    except (OSError, ValueError):
        return False


def _ordered(above: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Each stage behind those that it depends on, else as they stand."""
    order: dict[str, list[str]] = {}
    while len(order) < len(above):
        for stage, others in above.items():
            if stage not in order and all(other in order for other in others):
                order[stage] = others
                break
    return order


def _steps(stages: Mapping[str, list[str]], status: Mapping[str, Any], params: Params) -> Iterator[Step]:
    running: set[str] = set()
    edited: set[str] = set()  # stages whose params, or those of one before, are others than the last time
    estimated = _estimates(params, fresh=bool(_changed_params(status.get("download"))))
    for stage, above in stages.items():
        first = [other for other in above if other in running]
        reason = NEW if _is_new(status.get(stage)) else _reason(status.get(stage), first)
        if _changed_params(status.get(stage)) or any(other in edited for other in above):
            edited.add(stage)
        if reason is None:
            continue
        running.add(stage)
        last = None if stage in edited else _last(stage)
        if last is not None:
            yield Step(stage, last[0], f"as {last[1]}", reason)
        else:
            yield Step(stage, estimated.get(stage), "estimated" if stage in estimated else "", reason)


def _reason(changes: Any, above: list[str]) -> str | None:
    """Why a stage will run, in brief; None if it will not."""
    if not changes:
        return f"after {above[0]}" if above else None
    named = _changed_params(changes)
    files = [path for one in _part(changes, "changed deps") for path in one if path != PARAMS]
    code = [path for path in files if path.startswith(("src/", "stages/"))]
    outs = [path for one in _part(changes, "changed outs") for path in one]
    if "changed command" in changes or any(one == "changed command" for one in changes):
        return "its command has changed"
    if named:
        return f"changed: {_few(named)}"
    if code:
        return f"changed code: {_few([Path(path).name for path in code])}"
    if above:
        return f"after {above[0]}"
    return f"changed: {_few(files)}" if files else f"missing: {_few(outs)}" if outs else NEW


def _is_new(changes: Any) -> bool:
    """Of a stage that has not run here, DVC says that `params.yaml` is new, and names no param."""
    return any(one.get(PARAMS) == "new" for one in _part(changes or [], "changed deps"))


def _changed_params(changes: Any) -> list[str]:
    found = [one.get(PARAMS) for one in _part(changes or [], "changed deps")]
    return [name for names in found if isinstance(names, dict) for name in names]


def _part(changes: Any, key: str) -> list[dict[str, Any]]:
    return [one[key] for one in changes if isinstance(one, dict) and key in one]


def _few(names: list[str]) -> str:
    return ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")


def _last(stage: str) -> tuple[float, str] | None:
    """Seconds that a stage took here the last time, and the day; those of its costs, where only these are there."""
    try:
        file = timed_file(stage)
        return float(read_json(file)["seconds"]), time.strftime("on %d %b", time.localtime(file.stat().st_mtime))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    kind, _, name = stage.partition("@")
    cost = Path("reports/costs") / f"{'predict' if kind == 'evaluate' else kind}{'-' if name else ''}{name}.json"
    try:
        return float(read_json(cost)["seconds"]), "in its report"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _estimates(params: Params, fresh: bool) -> dict[str, float]:
    """Seconds of each stage by the model of `stages`; none where nobody knows how many images there are."""
    counts = {} if fresh else _counted()
    if counts:
        load = Load(sum(counts.values()), counts["train"], counts["val"], counts["test"])
    else:
        images = count_images(params.data.source)
        if not images:
            return {}
        load = Load.shared(images, params.split.ratios.model_dump())
    return stage_seconds(params, load, read_speeds())


def _counted() -> dict[str, int]:
    """Images of each split, as the split stage wrote them."""
    counts = {}
    for split in ("train", "val", "test"):
        try:
            with (Path("data/splits") / f"{split}.csv").open("rb") as table:
                counts[split] = sum(1 for _ in table) - 1
        except OSError:
            return {}
    return counts
