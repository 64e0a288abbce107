"""Versions and aliases written again from the ledger: under the numbers that it gives them, with DVC's model folders.

A version whose files are nowhere keeps its number as a placeholder, which is filled once its files are there again.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from meltpoint.model.card import read_card
from meltpoint.recovery.archive import OTHER_CODE, Kept, Library
from meltpoint.registry.holdout_reuse import wear_of
from meltpoint.registry.ledger import read
from meltpoint.registry.versions import (
    CANDIDATE,
    CHAMPION,
    KEY,
    PREVIOUS,
    TRAINED,
    WORN,
    aliases,
    create_version,
    ensure_registered,
    fingerprint,
    log_files,
)
from meltpoint.serving.mlflow_package import INSIDE
from meltpoint.tracking.descriptions import describe_decision
from meltpoint.tracking.runs import find_child, open_child
from meltpoint.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MISSING = "meltpoint.missing"  # tag: the fingerprint of what a placeholder stands for
OURS = (CHAMPION, PREVIOUS, CANDIDATE)


@dataclass(frozen=True)
class Entry:
    """A version as the ledger tells it."""

    number: int
    key: str  # fingerprint of its model folder
    line: Mapping[str, Any]  # the last that says why it got an alias


def entries(root: Path, model: str) -> dict[int, Entry]:
    """The versions of a registered model that the ledger names, by number."""
    found: dict[int, Entry] = {}
    for line in read(root):
        if line.get("model") == model and str(line.get("to") or "").isdigit():
            number = int(line["to"])
            gated = number not in found or line["alias"] in (CHAMPION, CANDIDATE)
            found[number] = Entry(number, line["key"], line if gated else found[number].line)
    return found


def wanted_aliases(root: Path, model: str) -> dict[str, str | None] | None:
    """Where the ledger says that each of our aliases points; None if it does not speak of this model at all."""
    lines = [line for line in read(root) if line.get("model") == model]
    if not lines:
        return None
    return {**dict.fromkeys(OURS), **{line["alias"]: line["to"] for line in lines}}


def versions_of(store: Store) -> "dict[int, ModelVersion]":
    """The versions that the store has, by number."""
    return {int(one.version): one for one in store.client.search_model_versions(f"name = '{store.name}'")}


def key_of(version: "ModelVersion") -> str:
    """The fingerprint of the model folder that a version was made of, or that a placeholder stands for."""
    return str(version.tags.get(KEY) or version.tags.get(MISSING))


def is_whole(store: Store, version: "ModelVersion") -> bool:
    """Whether the files of a version are there; those on this machine are compared with its fingerprint."""
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    if MISSING in version.tags:
        return False
    if (own := _folder(store, version)) is None:
        try:
            return bool(list_artifacts(f"{_address(store, version)}/{INSIDE}", tracking_uri=store.uri))
        except (MlflowException, OSError):
            return False
    folder = own / INSIDE
    return folder.is_dir() and version.tags.get(KEY) in (None, fingerprint(folder))


def _address(store: Store, version: "ModelVersion") -> str:
    """Where the files of a version are, as MLflow says it."""
    return str(store.client.get_model_version_download_uri(store.name, version.version))


def _folder(store: Store, version: "ModelVersion") -> Path | None:
    """The same as a folder; None if the files are on a server."""
    address = _address(store, version)
    if "://" not in address:
        return Path(address)
    where = urlparse(address)
    return Path(url2pathname(where.path)) if where.scheme == "file" else None


def restore_versions(store: Store, library: Library) -> list[str]:
    """Write every version that the ledger names and the store lacks, and fill those whose files are gone.

    What cannot be done is returned, in a sentence each.
    """
    told, known, troubles = entries(store.root, store.name), versions_of(store), []
    newest = max(known, default=0)
    for number in range(1, max(told, default=0) + 1):
        entry, version = told.get(number), known.get(number)
        if version is None and number <= newest:
            troubles.append(_deleted(store, number))
        elif version is None:
            troubles += _create(store, number, entry, library)
        elif entry is not None and key_of(version) != entry.key:
            troubles.append(_other_model(store, number))
        elif not is_whole(store, version):
            troubles += restore_files(store, version, library)
    return troubles


def restore_files(store: Store, version: "ModelVersion", library: Library) -> list[str]:
    """Write the files of a version again from the model folder that it was made of; why not, if that fails."""
    key = key_of(version)
    kept = library.find(store.name, key)
    if kept is None:
        return [_lost(store, int(version.version))]
    try:
        _fill(store, version, kept, key)
    except OTHER_CODE as error:
        return [_unfit(store, int(version.version), error)]
    return []


def restore_aliases(store: Store) -> list[str]:
    """Let our aliases point to where the ledger says; what moved, in a sentence each."""
    wanted, moved = wanted_aliases(store.root, store.name) or {}, []
    now, there = aliases(store), versions_of(store)
    for alias, version in wanted.items():
        if now.get(alias) == version or (version is not None and int(version) not in there):
            continue
        if version is None:
            store.client.delete_registered_model_alias(store.name, alias)
        else:
            store.client.set_registered_model_alias(store.name, alias, version)
        moved.append(f"{alias} of {store.name} points to {_where(version)} again, not to {_where(now.get(alias))}")
    return moved


def _create(store: Store, number: int, entry: Entry | None, library: Library) -> list[str]:
    """Make the next version, whole if its files are there, else as a placeholder."""
    ensure_registered(store)
    kept = library.find(store.name, entry.key) if entry else None
    troubles = [_lost(store, number)] if kept is None else []
    if kept is not None and entry is not None:
        try:
            tags = _tags(store, kept, entry.key, entry)
            create_version(store, kept.past.state, kept.strategy, _run_of(store, kept), tags, _about(kept))
            return []
        except OTHER_CODE as error:
            troubles = [_unfit(store, number, error)]
    _hold_place(store, entry)
    return troubles


def _hold_place(store: Store, entry: Entry | None) -> None:
    """A version without files, so that the next one gets its number."""
    tags = {MISSING: entry.key if entry else "unknown", **_told(entry)}
    about = "A placeholder: the files of this version are not here. `meltpoint sync` fills it once they are."
    model = store.client.create_logged_model(store.experiment, "placeholder", tags=tags)
    with store.in_environment():
        source = f"models:/{model.model_id}"
        store.client.create_model_version(store.name, source, tags=tags, description=about, model_id=model.model_id)


def _fill(store: Store, version: "ModelVersion", kept: Kept, key: str) -> None:
    """Write the files of a version to the place that it has, which may be empty, half gone or changed."""
    from mlflow.entities import LoggedModelOutput

    model, run = str(version.source).removeprefix("models:/"), _run_of(store, kept)
    if (old := _folder(store, version)) is not None:
        shutil.rmtree(old, ignore_errors=True)  # what is left of it may hold files of something else
    log_files(store, kept.past.state, kept.strategy, run, model)
    if MISSING not in version.tags:
        return
    tags = _tags(store, kept, key, None)
    store.client.log_outputs(run, [LoggedModelOutput(model, step=0)])
    store.client.set_logged_model_tags(model, tags)
    store.client.finalize_logged_model(model, "READY")
    for name, value in tags.items():
        if name not in version.tags:  # what the ledger says of it comes first
            store.client.set_model_version_tag(store.name, version.version, name, value)
    store.client.update_model_version(store.name, version.version, _about(kept))
    store.client.delete_model_version_tag(store.name, version.version, MISSING)


def _run_of(store: Store, kept: Kept) -> str:
    """The run that shows the training of this model."""
    told = (store, kept.past.state, kept.strategy, kept.past.keys[kept.strategy])
    return str((find_child(*told) or open_child(*told)).info.run_id)


def _tags(store: Store, kept: Kept, key: str, entry: Entry | None) -> dict[str, str]:
    """The tags of a version, as `register` gives them."""
    state, worn = kept.past.state, wear_of(store.root, store.name, key)
    own = {
        KEY: key,
        TRAINED: kept.past.keys[kept.strategy],
        "strategy": kept.strategy,
        "data": state.data[:12],
        "git": state.revision or "none",
        "licence": read_card(kept.folder).licence,
        "state": state.digest[:12],
    }
    return own | ({WORN: str(worn)} if worn else {}) | _told(entry)


def _told(entry: Entry | None) -> dict[str, str]:
    """What the ledger adds to the tags of a version: where it came from, what it scored then, what the gate said."""
    if entry is None:
        return {}
    line, value = entry.line, entry.line.get("value")
    told = {"git": line.get("git"), "data": line.get("data"), "gate": line.get("why")}
    score = {f"test {line['metric']}": "n/a" if value is None else f"{value:.4f}"} if line.get("metric") else {}
    return {key: str(value) for key, value in told.items() if value} | score


def _about(kept: Kept) -> str:
    return describe_decision(kept.past.decision)


def _where(version: str | None) -> str:
    return "nowhere" if version is None else f"version {version}"


def _lost(store: Store, number: int) -> str:
    return (
        f"{store.name} version {number} has no files: neither a commit nor DVC's cache has its model folder. It keeps "
        "its number. Bring the folders of all commits and try again: dvc pull --all-commits"
    )


def _unfit(store: Store, number: int, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return (
        f"{store.name} version {number} cannot be written: {type(error).__name__}: {reason} Its model folder has to "
        "be one that this code can read. It keeps its number; to see it, sync in a checkout of its own revision"
    )


def _deleted(store: Store, number: int) -> str:
    return (
        f"{store.name} version {number} was deleted in MLflow, which gives no number twice. The ledger still names it. "
        "To have it again, move mlruns/mlflow.db away and run: meltpoint sync"
    )


def _other_model(store: Store, number: int) -> str:
    return (
        f"{store.name} version {number} is another model in MLflow than in promotions.jsonl. Both have to tell the "
        "same story. Restore the ledger with git, or move mlruns/mlflow.db away and run: meltpoint sync"
    )
