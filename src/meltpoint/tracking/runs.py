"""The runs of MLflow: one parent for each state of the pipeline, one child for each strategy, found by their tags."""

import os
import socket
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

import psutil

from meltpoint.tracking.pipeline_state import PipelineState, git_revision, user_name
from meltpoint.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

RETIRED = " (other code)"
PROCESS = "meltpoint.process"  # tag: which process writes to a run
SLACK = 2.0  # seconds by which two readings of the start of a process may differ
RUNNING, FINISHED, KILLED = "RUNNING", "FINISHED", "KILLED"


def open_parent(store: Store, state: PipelineState) -> "Run":
    """The run of this state; made where it is missing."""
    with store.alone("runs"):
        found = _search(store, {"meltpoint.state": state.digest, "stage": "pipeline"})
        return (
            found[0]
            if found
            else store.client.create_run(
                store.experiment,
                start_time=state.when,
                run_name=parent_name(state, ", ".join(state.strategies)),
                tags={**_tags(state), "stage": "pipeline"},
            )
        )


def open_child(store: Store, state: PipelineState, strategy: str, key: str, started: int | None = None) -> "Run":
    """The run of a strategy's training under its state; made where it is missing, as begun at `started` (ms)."""
    parent = open_parent(store, state).info.run_id
    with store.alone("runs"):
        found = _search(store, {"meltpoint.state": state.digest, "meltpoint.key": key, "strategy": strategy})
        if found:
            return found[0]
        tags = {"stage": "train", "strategy": strategy, "meltpoint.key": key, "mlflow.parentRunId": parent}
        tags["mlflow.runType"] = "evaluation"  # MLflow's pages open the parents of such runs by themselves
        run = store.client.create_run(
            store.experiment,
            start_time=started,
            run_name=child_name(state, strategy),
            tags={**_tags(state), **tags, "mlflow.source.name": f"stages/train.py {strategy}"},
        )
    store.log(run.info.run_id, params={**state.own(strategy), **state.shared})
    return run


def find_child(store: Store, state: PipelineState, strategy: str, key: str) -> "Run | None":
    """The run of a strategy's training under this state, or else under another one with the same data."""
    own = {"meltpoint.key": key, "strategy": strategy}
    found = _search(store, {"meltpoint.state": state.digest, **own}) or _search(store, {"data": state.data[:12], **own})
    return found[0] if found else None


def retire_others(store: Store, state: PipelineState, run: "Run") -> None:
    """Mark other runs of the same strategy and state: they come from other code or libraries than this one."""
    strategy = run.data.tags["strategy"]
    for other in _search(store, {"meltpoint.state": state.digest, "strategy": strategy}):
        current = other.info.run_id == run.info.run_id
        name = child_name(state, strategy) + ("" if current else RETIRED)
        if other.info.run_name != name:
            store.client.update_run(other.info.run_id, name=name)
        if other.info.status == RUNNING and not current:
            close(store, other, KILLED)


def changes_before(store: Store, run: "Run", params: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What differs from the state that was shown before this one: name, old value, new value."""
    earlier = [other for other in _search(store, {"stage": "pipeline"}) if other.info.start_time < run.info.start_time]
    if not earlier:
        return []
    old = max(earlier, key=lambda other: other.info.start_time).data.params
    names = sorted(name for name in old.keys() | params.keys() if old.get(name) != params.get(name))
    return [(name, old.get(name, "-"), params.get(name, "-")) for name in names]


def parent_name(state: PipelineState, what: str) -> str:
    """How a person tells one state from another: what it holds, or what was decided."""
    experiment = _experiment(state)
    return " · ".join(filter(None, [what, state.digest[:6], f"{state.images:,} images", experiment]))


def child_name(state: PipelineState, strategy: str) -> str:
    """How a person tells one strategy from another."""
    backbone, side = state.encoder(strategy)
    return f"{strategy} · {backbone} @{side}"


def close(store: Store, run: "Run", status: str, ended: int | None = None) -> None:
    """Set how a run ended, unless that is set already; `ended` is in ms, now if None."""
    if store.client.get_run(run.info.run_id).info.status != status:
        store.client.set_terminated(run.info.run_id, status, ended)


def reopen(store: Store, run: "Run") -> None:
    """A run that goes on is running again, in this process."""
    store.log(run.info.run_id, tags={PROCESS: own_process()})
    if run.info.status != RUNNING:
        store.client.update_run(run.info.run_id, status=RUNNING)


def runs_of(store: Store) -> "list[Run]":
    """All runs of the experiment, oldest first; deleted ones do not count."""
    return _search(store, {})


def own_process() -> str:
    """The tag of this process: machine, number, start in seconds since 1970. A number alone is used again."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def is_alive(tag: str | None) -> bool | None:
    """Whether the process of a tag runs; None if this machine cannot see it. A run without a tag has none."""
    if tag is None:
        return False
    host, number, start = tag.rsplit(" ", 2)
    if host != socket.gethostname():
        return None
    try:
        return abs(psutil.Process(int(number)).create_time() - float(start)) <= SLACK
    except psutil.NoSuchProcess:
        return False


def _search(store: Store, tags: Mapping[str, str]) -> "list[Run]":
    """The runs of the experiment with these tags, oldest first; deleted ones do not count."""
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    found: list[Run] = []
    token: str | None = ""
    while token is not None:
        order = ["attributes.start_time ASC"]
        page = store.client.search_runs([store.experiment], query, order_by=order, page_token=token or None)
        found, token = [*found, *page], page.token or None
    return found


def _tags(state: PipelineState) -> dict[str, str]:
    revision, experiment = state.revision or git_revision(state.folder), _experiment(state)
    return {
        "data": state.data[:12],
        "git": revision,
        "meltpoint.state": state.digest,
        "meltpoint.version": version("meltpoint"),
        PROCESS: own_process(),
        "mlflow.user": user_name(state.folder),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "dvc repro",
        "mlflow.source.git.commit": revision.rstrip("+"),
        **({"dvc.experiment": experiment} if experiment else {}),
    }


def _experiment(state: PipelineState) -> str | None:
    """The name of the experiment of DVC that runs now; what was read from a commit belongs to none."""
    return os.environ.get("DVC_EXP_NAME") if state.when is None else None
