"""What is wrong with the store, in the order in which it has to be mended; each finding says how, or does it itself."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.params.read import Params
from meltpoint.recovery.archive import open_library
from meltpoint.recovery.moved import correct_places, database, known_schemas, read_schema, stale_places, upgrade
from meltpoint.recovery.restore import (
    OURS,
    entries,
    is_whole,
    key_of,
    restore_aliases,
    restore_files,
    restore_versions,
    versions_of,
    wanted_aliases,
)
from meltpoint.recovery.snapshots import find_snapshots
from meltpoint.registry.ledger import LEDGER, is_fresh, read
from meltpoint.registry.promotion import INTENTION, finish, one_act, unfinished
from meltpoint.registry.versions import aliases
from meltpoint.tracking.runs import KILLED, PROCESS, RUNNING, close, is_alive, runs_of
from meltpoint.tracking.store import Store, is_local, local_artifacts, open_store

REPAIR = "meltpoint doctor --repair"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and how to mend it: a command, or `repair`, which returns what it could not mend."""

    what: str
    mend: str
    repair: Callable[[], list[str]] | None = None
    blocks: bool = False  # nothing else can be looked at before


@dataclass(frozen=True)
class Patient:
    """The repository that is looked at."""

    params: Params
    root: Path

    @property
    def local(self) -> bool:
        """Whether its store is the database in mlruns/."""
        return is_local(self.root)

    def stores(self) -> Iterator[Store]:
        """The store, once for each registered model that params.yaml or the ledger name."""
        told = [str(line["model"]) for line in read(self.root) if line.get("model")]
        for name in dict.fromkeys([self.params.register_.name, *told]):
            yield open_store(name, self.root)


@dataclass
class Report:
    """What was mended, and what is still wrong."""

    mended: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    fresh: bool = False  # nothing was run here yet, so that only the environment was looked at


def doctor(params: Params, root: Path, repair: bool) -> Report:
    """Look at the store of the repository at `root`, and mend what can be mended if `repair`.

    Raises:
        StoreError: MLflow cannot be used for a reason that nothing here mends.
        LedgerError: the ledger cannot be read.
    """
    patient, report = Patient(params, root), Report()
    report.fresh = patient.local and is_fresh(root)
    for look in (_environment,) if report.fresh else LOOKS:
        for finding in list(look(patient)):
            left = _treat(finding, repair)
            if left:
                report.left.append(Finding(finding.what, " ".join(left), None, finding.blocks))
            else:
                report.mended.append(finding)
        if any(finding.blocks for finding in report.left):
            break
    return report


def _treat(finding: Finding, repair: bool) -> list[str]:
    """Mend a finding if that is wanted; what is left to do."""
    if finding.repair is None or not repair:
        return [finding.mend]
    try:
        return finding.repair()
    except UserError as error:
        return [str(error)]


def _environment(patient: Patient) -> Iterator[Finding]:
    del patient
    if "MLFLOW_RUN_ID" in os.environ:
        what = f"MLFLOW_RUN_ID is set to {os.environ['MLFLOW_RUN_ID']!r}, so that other tools write into that run"
        yield Finding(what, "unset MLFLOW_RUN_ID")


def _database(patient: Patient) -> Iterator[Finding]:
    """The file is there, and the installed MLflow can read it."""
    if not patient.local:
        return
    path = database(patient.root)
    if not path.exists():
        mend = "meltpoint sync" if read(patient.root) or find_snapshots(patient.root) else "make repro"
        yield Finding(f"there is no {path}, so that MLflow shows nothing", mend, blocks=True)
        return
    found, known = read_schema(patient.root), known_schemas()
    if found == known[0]:
        return
    what = f"{path} has the schema {found}, and the installed MLflow wants {known[0]}"
    if found in known:
        yield Finding(f"{what}, which is newer", REPAIR, partial(_upgrade, patient.root), blocks=True)
    else:
        mend = "install the MLflow of requirements.lock; or move the file away, then: meltpoint sync"
        yield Finding(f"{what}: another MLflow, a newer one, has made it", mend, blocks=True)


def _upgrade(root: Path) -> list[str]:
    upgrade(root)
    return []


def _places(patient: Patient) -> Iterator[Finding]:
    """Runs and versions keep their files in this folder."""
    if not patient.local:
        return
    for place, rows in stale_places(patient.root).items():
        what = f"{rows} addresses in MLflow lead to {place}, and the files are in {local_artifacts(patient.root)}"
        yield Finding(what, REPAIR, partial(_correct, patient.root), blocks=True)


def _correct(root: Path) -> list[str]:
    correct_places(root)
    return []


def _promotion(patient: Patient) -> Iterator[Finding]:
    """No promotion was cut short."""
    if told := unfinished(patient.root):
        yield Finding(f"a promotion was cut short: {told}", REPAIR, partial(_finish, patient))


def _finish(patient: Patient) -> list[str]:
    finish(next(patient.stores()), patient.root)
    return [f"{patient.root / INTENTION} is still there"] if unfinished(patient.root) else []


def _versions(patient: Patient) -> Iterator[Finding]:
    """Every version that the ledger names is there, is that model, and has its files."""
    for store in patient.stores():
        told, there = entries(patient.root, store.name), versions_of(store)
        if absent := sorted(told.keys() - there.keys()):
            what = f"{LEDGER} names versions of {store.name} that MLflow lacks: {_list(absent)}"
            yield Finding(what, REPAIR, partial(_restore_absent, store, patient))
        shared = sorted(told.keys() & there.keys())
        if others := [number for number in shared if key_of(there[number]) != told[number].key]:
            what = f"MLflow has other models of {store.name} than {LEDGER} as versions {_list(others)}"
            yield Finding(what, f"git checkout -- {LEDGER}, or move {database(patient.root)} away: meltpoint sync")
        if gone := [number for number, version in sorted(there.items()) if not is_whole(store, version)]:
            what = f"files of versions of {store.name} are gone or changed: {_list(gone)}"
            yield Finding(what, REPAIR, partial(_restore_files, store, patient, gone))


def _restore_absent(store: Store, patient: Patient) -> list[str]:
    with open_library(patient.params, patient.root) as library, one_act(store):
        return restore_versions(store, library)


def _restore_files(store: Store, patient: Patient, numbers: list[int]) -> list[str]:
    with open_library(patient.params, patient.root) as library, one_act(store):
        there = versions_of(store)
        return [left for number in numbers for left in restore_files(store, there[number], library)]


def _aliases(patient: Patient) -> Iterator[Finding]:
    """Aliases point to where the ledger says."""
    for store in patient.stores():
        wanted, now = wanted_aliases(patient.root, store.name), aliases(store)
        if wanted is None:
            if now.keys() & set(OURS):
                what = f"{LEDGER} says nothing of {store.name}, and MLflow has {now}"
                yield Finding(what, f"git checkout -- {LEDGER}; or, to start anew, delete the aliases in the UI")
            continue
        for alias, version in wanted.items():
            if now.get(alias) != version:
                what = (
                    f"{alias} of {store.name} is {_named(now.get(alias))} in MLflow and {_named(version)} in {LEDGER}"
                )
                yield Finding(what, REPAIR, partial(_restore_alias, store, alias))


def _restore_alias(store: Store, alias: str) -> list[str]:
    with one_act(store):
        restore_aliases(store)
    wanted = (wanted_aliases(store.root, store.name) or {}).get(alias)
    return [] if aliases(store).get(alias) == wanted else [f"MLflow has no version {wanted}. Run: meltpoint sync"]


def _runs(patient: Patient) -> Iterator[Finding]:
    """Nothing claims to run whose process is dead. Of other machines' processes nothing is known, or said."""
    for store in patient.stores():
        for run in runs_of(store):
            if run.info.status == RUNNING and is_alive(run.data.tags.get(PROCESS)) is False:
                what = f"the run {run.info.run_name!r} ({run.info.run_id[:8]}) says RUNNING, and its process is gone"
                yield Finding(what, REPAIR, partial(_close, store, run.info.run_id))


def _close(store: Store, run: str) -> list[str]:
    close(store, store.client.get_run(run), KILLED)
    return []


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _named(version: str | None) -> str:
    return "nowhere" if version is None else f"version {version}"


LOOKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    _environment, _database, _places, _promotion, _versions, _aliases, _runs,
)  # fmt: skip
