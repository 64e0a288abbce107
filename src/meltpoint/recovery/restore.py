"""Restores versions and aliases from the ledger: under the numbers that it gives them, with DVC's model folders.

A version whose files are missing keeps its number as a placeholder, which is filled once its files are back.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.model.card import read_card
from meltpoint.recovery.archive import UNREADABLE, Archive, ArchivedModel, first_line
from meltpoint.recovery.snapshots import exports_are_linked
from meltpoint.registry.exports import EXPORTS, has_exports, log_exports
from meltpoint.registry.histories import is_of_another, owners
from meltpoint.registry.holdout_reuse import reuse_of
from meltpoint.registry.ledger import AliasChange, changes_of, place
from meltpoint.registry.store_history import disagreements
from meltpoint.registry.versions import (
    CANDIDATE,
    CHAMPION,
    KEY,
    REUSE,
    TRAINED,
    complete_placeholder,
    create_placeholder,
    create_version,
    is_placeholder,
    is_whole,
    key_of,
    refill_version,
    versions_of,
)
from meltpoint.tracking.descriptions import describe_decision
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.runs import find_child, open_child
from meltpoint.tracking.store import Store

if TYPE_CHECKING:
    from meltpoint.registry.versions import ModelVersion


def ledger_versions(root: Path, model: str) -> dict[int, AliasChange]:
    """The versions of a registered model that the ledger names: number to the last line that says why it was chosen."""
    found: dict[int, AliasChange] = {}
    known = owners(changes_of(root, model))
    for change in changes_of(root, model):
        if (
            change.after
            and change.after.isdigit()
            and not is_of_another(change, known)
            and (int(change.after) not in found or change.alias in (CHAMPION, CANDIDATE))
        ):
            found[int(change.after)] = change
    return found


def restore_versions(store: Store, archive: Archive) -> list[str]:
    """Write every version that the ledger names and the store lacks, and fill those whose files are gone.

    What cannot be done is returned, in a sentence each.
    """
    named, known, problems = ledger_versions(store.root, store.name), versions_of(store), []
    newest = max(known, default=0)
    for number in range(1, max(named, default=0) + 1):
        entry, version = named.get(number), known.get(number)
        if version is None and number <= newest:
            problems.append(
                f"{store.name} version {number} was deleted in MLflow, which gives no number twice. The ledger still "
                "names it. To restore it, move mlruns/mlflow.db away and run: meltpoint sync"
            )
        elif version is None:
            problems += _create(store, number, entry, archive)
        elif entry is not None and key_of(version) != entry.facts.key:
            problems.append(
                f"{store.name} version {number} is another model in MLflow than in promotions.jsonl. Both must agree. "
                "To write the store anew from the ledger: meltpoint doctor --repair"
            )
        elif not is_whole(store, version):
            problems += restore_files(store, version, archive)
        else:
            problems += restore_exports(store, version, archive)
    return problems


def restore_files(store: Store, version: "ModelVersion", archive: Archive) -> list[str]:
    """Restore the files of a version from the model folder that it was made of; why not, if that fails."""
    key = key_of(version)
    kept = archive.find(store.name, key)
    if kept is None:
        return [_lost(store, int(version.version))]
    try:
        run = _run_of(store, kept)
        refill_version(store, version, kept.pipeline.state, kept.strategy, run)
        if is_placeholder(version):
            about = describe_decision(kept.pipeline.decision)
            complete_placeholder(store, version, run, _tags(store, kept, key, None), about)
    except StoreError:
        raise
    except UNREADABLE as error:
        return [_unfit(store, int(version.version), error)]
    return restore_exports(store, version, archive)


def restore_aliases(store: Store) -> list[str]:
    """Let our aliases point to where the ledger says; what moved, in a sentence each."""
    there, moved = versions_of(store), []
    if not changes_of(store.root, store.name):
        return []
    for one in disagreements(store):
        alias, version = one.alias, one.named
        line = changes_of(store.root, store.name, alias)[-1:]
        if version is not None and (int(version) not in there or key_of(there[int(version)]) != line[0].facts.key):
            continue
        if version is None:
            store.client.delete_registered_model_alias(store.name, alias)
        else:
            store.client.set_registered_model_alias(store.name, alias, version)
        moved.append(f"{alias} of {store.name} points to {place(version)} again, not to {place(one.found)}")
    return moved


def _create(store: Store, number: int, entry: AliasChange | None, archive: Archive) -> list[str]:
    """Make the next version, whole if its files are there, else as a placeholder."""
    kept = archive.find(store.name, entry.facts.key) if entry else None
    problems = [_lost(store, number)] if kept is None else []
    if kept is not None and entry is not None:
        try:
            tags, about = _tags(store, kept, entry.facts.key, entry), describe_decision(kept.pipeline.decision)
            version = create_version(store, kept.pipeline.state, kept.strategy, _run_of(store, kept), tags, about)
        except StoreError:
            raise
        except UNREADABLE as error:
            problems = [_unfit(store, number, error)]
        else:
            return restore_exports(store, version, archive)
    create_placeholder(store, entry.facts.key if entry else "unknown", _ledger_tags(entry))
    return problems


def restore_exports(store: Store, version: "ModelVersion", archive: Archive) -> list[str]:
    """Log the exports of a version that lacks them or some of them; why not, if that fails."""
    if EXPORTS in version.tags and has_exports(store, version):
        return []
    kept, reason = archive.find_exported(store.name, key_of(version)), ""
    if kept is None and EXPORTS not in version.tags:
        return []
    if kept is None:
        reason = "no commit has them."
    elif not exports_are_linked(kept.pipeline.snapshot, kept.pipeline.state.folder):
        reason = "DVC's cache lacks some of their files."
    else:
        try:
            log_exports(store, kept.pipeline.state, version, lost=True)
        except StoreError:
            raise
        except UNREADABLE as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
    if not reason:
        return []
    return [
        f"The exports of {store.name} version {version.version} cannot be restored: {reason} The version itself is"
        " there. Bring the folders of all commits and try again: dvc pull --all-commits. To export it again, run `dvc"
        " repro` in a checkout of its own revision"
    ]


def _run_of(store: Store, kept: ArchivedModel) -> str:
    """The run that shows the training of this model."""
    training = (store, kept.pipeline.state, kept.strategy, kept.pipeline.keys[kept.strategy])
    return str((find_child(*training) or open_child(*training)).info.run_id)


def _tags(store: Store, kept: ArchivedModel, key: str, entry: AliasChange | None) -> dict[str, str]:
    """The tags of a version, as `register` gives them."""
    state, reuse = kept.pipeline.state, reuse_of(store.root, store.name, key)
    own = {
        KEY: key,
        TRAINED: kept.pipeline.keys[kept.strategy],
        "strategy": kept.strategy,
        "data": state.data[:12],
        "git": state.revision or "none",
        "licence": read_card(kept.folder).licence,
        "state": state.digest[:12],
    }
    return own | ({REUSE: str(reuse)} if reuse else {}) | _ledger_tags(entry)


def _ledger_tags(entry: AliasChange | None) -> dict[str, str]:
    """What the ledger adds to the tags of a version: where it came from, what it scored then, what the gate said."""
    if entry is None:
        return {}
    facts = entry.facts
    tags = {"git": facts.git, "data": facts.data, "gate": entry.why}
    score = {f"test {facts.metric}": "n/a" if facts.value is None else f"{facts.value:.4f}"} if facts.metric else {}
    return {key: str(value) for key, value in tags.items() if value} | score


def _lost(store: Store, number: int) -> str:
    return (
        f"{store.name} version {number} has no files: neither a commit nor DVC's cache has its model folder. It keeps "
        "its number. Bring the folders of all commits and try again: dvc pull --all-commits"
    )


def _unfit(store: Store, number: int, error: Exception) -> str:
    reason = first_line(error)
    return (
        f"{store.name} version {number} cannot be written: {type(error).__name__}: {reason} Its model folder has to "
        "be one that this code can read. It keeps its number; to see it, sync in a checkout of its own revision"
    )
