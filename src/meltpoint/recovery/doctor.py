"""Finds what is wrong with the store, in the order in which it has to be repaired; and repairs it."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.recovery.archive import open_archive
from meltpoint.recovery.rebuild import losses, rebuild, stale_addresses
from meltpoint.recovery.restore import ledger_versions, restore_aliases, restore_versions
from meltpoint.recovery.snapshots import find_snapshots
from meltpoint.registry.exports import has_exports
from meltpoint.registry.histories import JOIN, tell_strays
from meltpoint.registry.ledger import LEDGER, changes_of, is_fresh, models_of, place, read_ledger
from meltpoint.registry.plan import PLAN_FILE, unfinished
from meltpoint.registry.promotion import finish, promotion_lock, restore_deleted_aliases
from meltpoint.registry.store_history import ADOPT, OURS, disagreements, is_shared
from meltpoint.registry.versions import aliases, is_whole, key_of, versions_of
from meltpoint.tracking.database import database, is_local, known_schemas, local_artifacts, read_schema
from meltpoint.tracking.runs import KILLED, PROCESS, RUNNING, close, is_alive, runs_of
from meltpoint.tracking.store import Store, open_store

REPAIR = "meltpoint doctor --repair"


@dataclass(frozen=True)
class Finding:
    """A problem, and how to repair it: a command, or `repair`, which returns what it could not repair."""

    what: str
    remedy: str
    repair: Callable[[], list[str] | None] | None = None
    blocks: bool = False  # nothing else can be looked at before
    lost: tuple[str, ...] = ()  # what the repair cannot bring back


@dataclass(frozen=True)
class Repository:
    """The repository to check, and the registered model that its params.yaml names."""

    name: str
    root: Path

    @property
    def local(self) -> bool:
        """Whether its store is the database in mlruns/."""
        return is_local(self.root)

    def stores(self) -> Iterator[Store]:
        """The store, once for each registered model that params.yaml or the ledger name."""
        for name in dict.fromkeys([self.name, *models_of(self.root)]):
            yield open_store(name, self.root, moved=True)

    def rebuilding(self, what: str, readable: bool = True) -> Finding:
        """A finding that a fresh local store repairs. A store that is not `readable` is not opened."""
        stores = list(self.stores()) if readable else []
        try:
            lost = tuple(losses(self.root, stores))
        except UserError as error:
            return Finding(what, f"move {self.root / 'mlruns'} away and begin anew: {error}", None, blocks=True)
        return Finding(what, REPAIR, partial(rebuild, self.root, stores), True, lost)


@dataclass
class Report:
    """What was repaired, and what is still wrong."""

    repaired: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    fresh: bool = False  # nothing was run here yet, so that only the environment was looked at


def doctor(name: str, root: Path, repair: bool) -> Report:
    """Check the store of the repository at `root`, whose registered model is `name`; with `repair`, repair what can be.

    Raises:
        StoreError: MLflow cannot be used for a reason that nothing here repairs.
        LedgerError: the ledger cannot be read.
    """
    repository, report = Repository(name, root), Report()
    report.fresh = repository.local and is_fresh(root)
    for check in (_environment,) if report.fresh else CHECKS:
        for finding in list(check(repository)):
            left = [finding.remedy]
            if finding.repair is not None and repair:
                try:
                    left = finding.repair() or []
                except UserError as error:
                    left = [str(error)]
            if left:
                report.left.append(Finding(finding.what, " ".join(left), None, finding.blocks, finding.lost))
            else:
                report.repaired.append(finding)
        if any(finding.blocks for finding in report.left):
            break
    return report


def _environment(repository: Repository) -> Iterator[Finding]:
    del repository
    if "MLFLOW_RUN_ID" in os.environ:
        what = f"MLFLOW_RUN_ID is set to {os.environ['MLFLOW_RUN_ID']!r}, so that other tools write into that run"
        yield Finding(what, "unset MLFLOW_RUN_ID")


def _database(repository: Repository) -> Iterator[Finding]:
    """The file is there, and the installed MLflow can read it."""
    if not repository.local:
        return
    path = database(repository.root)
    if not path.exists():
        remedy = "meltpoint sync" if read_ledger(repository.root) or find_snapshots(repository.root) else "make repro"
        yield Finding(f"there is no {path}, so that MLflow shows nothing", remedy, blocks=True)
        return
    found, known = read_schema(path), known_schemas()
    if found is None:
        yield repository.rebuilding(f"{path} is not a database of MLflow, or is damaged", readable=False)
    elif found in known[1:]:
        what = (
            f"{path} has the schema {found}, and the installed MLflow wants {known[0]}, which is newer (to keep "
            "everything in it instead of rebuilding it, copy the file, then run: mlflow db upgrade)"
        )
        yield repository.rebuilding(what, readable=False)
    elif found != known[0]:
        what = f"{path} has the schema {found}, which the installed MLflow does not know: a newer one made it"
        remedy = "install the MLflow of requirements.lock; or move the file away, then: meltpoint sync"
        yield Finding(what, remedy, blocks=True)


def _promotion(repository: Repository) -> Iterator[Finding]:
    """No promotion was interrupted."""
    if plan := unfinished(repository.root):
        repair = partial(_finish, next(repository.stores()))
        yield Finding(f"a promotion was interrupted: {plan}", REPAIR, repair)


def _finish(store: Store) -> list[str]:
    finish(store)
    return [f"{store.root / PLAN_FILE} is still there"] if unfinished(store.root) else []


def _histories(repository: Repository) -> Iterator[Finding]:
    """Each number of a version is that of one model."""
    for name in dict.fromkeys([repository.name, *models_of(repository.root)]):
        for what in tell_strays(repository.root, name):
            yield Finding(what, f"{JOIN}, then meltpoint doctor --repair", blocks=True)


def _contents(repository: Repository) -> Iterator[Finding]:
    """A local store keeps its files in this folder, and its versions are those of the ledger: else it is rebuilt."""
    stores = list(repository.stores())
    what, stale = [], Counter[str]()
    for store in stores:
        named, there = ledger_versions(store.root, store.name), versions_of(store)
        both = sorted(named.keys() & there.keys())
        if others := [number for number in both if key_of(there[number]) != named[number].facts.key]:
            what.append(f"MLflow has other models of {store.name} than {LEDGER} as versions {_list(others)}")
        if repository.local:
            stale.update(stale_addresses(store))
    here = local_artifacts(repository.root)
    what += [
        f"{times} addresses in MLflow lead to {place}, and the files are in {here}" for place, times in stale.items()
    ]
    if what and repository.local:
        yield repository.rebuilding("; ".join(what))
    elif what:
        yield Finding("; ".join(what), f"git checkout -- {LEDGER}, or delete these versions in MLflow")


def _versions(repository: Repository) -> Iterator[Finding]:
    """Every version that the ledger names is there and has its files."""
    for store in repository.stores():
        named, there = ledger_versions(repository.root, store.name), versions_of(store)
        if absent := sorted(named.keys() - there.keys()):
            what = f"{LEDGER} names versions of {store.name} that MLflow lacks: {_list(absent)}"
            yield Finding(what, REPAIR, partial(_restore, store))
        if gone := [number for number, version in sorted(there.items()) if not is_whole(store, version)]:
            what = f"files of versions of {store.name} are gone or changed: {_list(gone)}"
            yield Finding(what, REPAIR, partial(_restore, store))
        if bare := [number for number, version in sorted(there.items()) if not has_exports(store, version)]:
            what = f"exports of versions of {store.name} are gone or changed: {_list(bare)}"
            yield Finding(what, REPAIR, partial(_restore, store))


def _restore(store: Store) -> list[str]:
    with open_archive(store.root) as archive, promotion_lock(store):
        return restore_versions(store, archive)


def _aliases(repository: Repository) -> Iterator[Finding]:
    """Aliases point to where the ledger says."""
    for store in repository.stores():
        now = aliases(store)
        if not is_shared(store) and not changes_of(store.root, store.name):
            if now.keys() & set(OURS):
                what = f"{LEDGER} says nothing of {store.name}, and MLflow has {now}"
                yield Finding(what, f"git checkout -- {LEDGER}; or, to start anew, delete the aliases in the UI")
            continue
        for one in disagreements(store):
            repair = None if one.stays else partial(_restore_alias, store, one.alias)
            yield Finding(str(one), ADOPT if one.stays else REPAIR, repair)


def _restore_alias(store: Store, alias: str) -> list[str]:
    with promotion_lock(store):
        if is_shared(store):
            restore_deleted_aliases(store)
        else:
            restore_aliases(store)
    left = [one for one in disagreements(store) if one.alias == alias]
    return [f"MLflow has no {place(one.named)}. Run: meltpoint sync" for one in left]


def _runs(repository: Repository) -> Iterator[Finding]:
    """No run is shown as running whose process has ended. Of processes of other machines nothing is known."""
    for store in repository.stores():
        for run in runs_of(store):
            if run.info.status == RUNNING and is_alive(run.data.tags.get(PROCESS)) is False:
                what = f"the run {run.info.run_name!r} ({run.info.run_id[:8]}) says RUNNING, and its process is gone"
                yield Finding(what, REPAIR, partial(close, store, run, KILLED))


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


CHECKS: tuple[Callable[[Repository], Iterator[Finding]], ...] = (
    _environment, _database, _promotion, _histories, _contents, _versions, _aliases, _runs,
)  # fmt: skip
