"""Writes into MLflow whatever git, DVC's outputs and the ledger know; what is there already is not written again."""

from dataclasses import dataclass
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.params.read import Params
from meltpoint.progress import track
from meltpoint.recovery.archive import OTHER_CODE, Library, Past, open_library
from meltpoint.recovery.restore import restore_aliases, restore_versions, versions_of
from meltpoint.registry.ledger import BEGIN, is_fresh, read
from meltpoint.registry.promotion import one_act
from meltpoint.registry.versions import CHAMPION, aliases
from meltpoint.tracking.log_runs import show_decision, show_strategy
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


def sync(params: Params, root: Path) -> tuple[list[Synced], list[str]]:
    """Show every finished pipeline of the repository at `root`, its versions and aliases; again adds nothing.

    What could not be written is told in a sentence each.

    Raises:
        SyncError: there is no finished pipeline whose files are here.
        SnapshotError: `root` is no DVC repository.
        StoreError: MLflow cannot be used.
    """
    with open_library(params, root) as library:
        if not library.pasts:
            raise SyncError(
                f"There is nothing to show. {BEGIN}"
                if is_fresh(root) and not library.troubles
                else "There is nothing to show: no commit, and not the working tree either, holds a params.yaml and a "
                f"dvc.lock that belong together, with their files in DVC's cache.{_first(library)} Run: dvc pull, or "
                "where nothing was ever run: dvc repro"
            )
        names = dict.fromkeys([*(past.state.name for past in library.pasts), *_told(root)])
        troubles = list(library.troubles)
        return [_sync_model(open_store(name, root), library, params, troubles) for name in names], troubles


def _told(root: Path) -> list[str]:
    """The registered models of the ledger."""
    return [line["model"] for line in read(root) if line.get("model")]


def _sync_model(store: Store, library: Library, params: Params, troubles: list[str]) -> Synced:
    with one_act(store):
        runs, versions = len(runs_of(store)), len(versions_of(store))
        pasts = [past for past in library.pasts if past.state.name == store.name]
        troubles += _show(store, pasts, params)
        troubles += restore_versions(store, library)
        restore_aliases(store)
        shown, there = len(runs_of(store)), len(versions_of(store))
        champion = aliases(store).get(CHAMPION)
        return Synced(store.name, shown, shown - runs, there, there - versions, champion)


def _show(store: Store, pasts: list[Past], params: Params) -> list[str]:
    """Show the runs of all pasts, oldest first; of two that tell the same run, the newer."""
    told = {(past.state.digest, name, key): past for past in pasts for name, key in past.keys.items()}
    decided, troubles = {past.state.digest: past for past in pasts}, []
    for past in track(pasts, f"showing {store.name} in MLflow", unit="state"):
        own = [name for name, key in past.keys.items() if told[past.state.digest, name, key] is past]
        if not past.exact and all(find_child(store, past.state, *item) for item in past.keys.items()):
            continue  # they were shown by the code of that day, under the digest that it counted
        try:
            for name in own:
                show_strategy(store, past.state, name, past.decision, params.evaluate.worst)
            if decided[past.state.digest] is past:
                show_decision(store, past.state, past.decision)
        except OTHER_CODE as error:
            if past is pasts[-1]:
                raise
            troubles.append(_unshown(past, error))
    if pasts:
        save_view(store, pasts[-1].decision.main, list(pasts[-1].snapshot.params["heads"]))
    return troubles


def _unshown(past: Past, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0][:200]
    return (
        f"The state of {past.snapshot.revision[:12]} cannot be shown whole: {type(error).__name__}: {reason}. It was "
        "written by other code than this. To see it, run `meltpoint sync` in a checkout of that revision"
    )


def _first(library: Library) -> str:
    return f" {library.troubles[-1]}." if library.troubles else ""
