"""Writes into MLflow what git, DVC's outputs and the ledger know; what is there already is not written again."""

from dataclasses import dataclass
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.progress import track
from meltpoint.recovery.archive import UNREADABLE, Archive, ArchivedPipeline, first_line, open_archive
from meltpoint.recovery.restore import restore_aliases, restore_versions
from meltpoint.registry.histories import JOIN, tell_strays
from meltpoint.registry.ledger import BEGIN, changes_of, is_fresh, models_of
from meltpoint.registry.promotion import promotion_lock, restore_deleted_aliases
from meltpoint.registry.store_history import is_shared, record
from meltpoint.registry.versions import CHAMPION, aliases, versions_of
from meltpoint.tracking.log_runs import log_decision, log_strategy
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.runs import find_child, runs_of
from meltpoint.tracking.saved_view import save_view
from meltpoint.tracking.store import Store, open_store


class SyncError(UserError, RuntimeError):
    """There is nothing to show."""


@dataclass(frozen=True)
class Synced:
    """What the store shows of one registered model now, and how much of that is new."""

    name: str
    runs: int
    new_runs: int
    versions: int
    new_versions: int
    champion: str | None

    @property
    def sentence(self) -> str:
        """The same in words."""
        serves = f"version {self.champion} is the champion" if self.champion else "there is no champion"
        new = f"{self.new_runs} and {self.new_versions} of them new"
        return f"{self.name}: {self.runs} runs and {self.versions} versions, {new}; {serves}"


def sync(root: Path, uri: str | None = None) -> tuple[list[Synced], list[str]]:
    """Show every finished pipeline of the repository at `root`, its versions and aliases; again adds nothing.

    On a store that other clones may use an alias that points elsewhere than in the ledger stays where it is.

    What could not be written is returned too, in a sentence each. `uri` is another store than that of the repository.

    Raises:
        SyncError: there is no finished pipeline whose files are here.
        SnapshotError: `root` is no DVC repository.
        StoreError: MLflow cannot be used.
    """
    with open_archive(root) as archive:
        if not archive.pipelines:
            last = [f" {problem}." for problem in archive.problems[-1:]]
            raise SyncError(
                f"There is nothing to show. {BEGIN}"
                if is_fresh(root) and not archive.problems
                else "There is nothing to show: no commit, and not the working tree either, holds a params.yaml and a "
                f"dvc.lock that belong together, with their files in DVC's cache.{''.join(last)} Run: dvc pull, or "
                "where nothing was ever run: dvc repro"
            )
        names = dict.fromkeys([*(pipeline.state.name for pipeline in archive.pipelines), *models_of(root)])
        problems = list(archive.problems)
        return [_sync_model(open_store(name, root, uri), archive, problems) for name in names], problems


def _sync_model(store: Store, archive: Archive, problems: list[str]) -> Synced:
    with promotion_lock(store):
        runs, versions = len(runs_of(store)), len(versions_of(store))
        problems += _log(store, [pipeline for pipeline in archive.pipelines if pipeline.state.name == store.name])
        problems += [f"{what}. To join them: {JOIN}" for what in tell_strays(store.root, store.name)]
        problems += restore_versions(store, archive)
        if is_shared(store) and versions:  # other clones may have moved its aliases
            problems += restore_deleted_aliases(store)
        else:
            restore_aliases(store)
        record(store, changes_of(store.root, store.name))
        shown, there = len(runs_of(store)), len(versions_of(store))
        champion = aliases(store).get(CHAMPION)
        return Synced(store.name, shown, shown - runs, there, there - versions, champion)


def _log(store: Store, pipelines: list[ArchivedPipeline]) -> list[str]:
    """Log the runs of all pipelines, oldest first; of two with the same run, the newer one's."""
    newest = {(one.state.digest, name, key): one for one in pipelines for name, key in one.keys.items()}
    decided, problems = {one.state.digest: one for one in pipelines}, []
    for one in track(pipelines, f"showing {store.name} in MLflow", unit="state"):
        own = [name for name, key in one.keys.items() if newest[one.state.digest, name, key] is one]
        if not one.exact and all(find_child(store, one.state, *item) for item in one.keys.items()):
            continue  # they were logged by the code of that day, under the digest that it computed
        try:
            for name in own:
                log_strategy(store, one.state, name, one.decision)
            if decided[one.state.digest] is one:
                log_decision(store, one.state, one.decision)
        except StoreError:
            raise
        except UNREADABLE as error:
            if one is pipelines[-1]:
                raise
            problems.append(
                f"The state of {one.snapshot.revision[:12]} cannot be shown completely: {type(error).__name__}: "
                f"{first_line(error, 200)}. It was written by another version of the code. To see it, run `meltpoint "
                "sync` in a checkout of that revision"
            )
    if pipelines:
        save_view(store, pipelines[-1].decision.main, list(pipelines[-1].snapshot.params["heads"]))
    return problems
