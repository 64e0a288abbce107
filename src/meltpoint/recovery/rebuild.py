"""A fresh local store, written by `sync` beside the old one and swapped in whole; the old one is kept.

MLflow has no way to change where a run keeps its files, so that nothing in an old database is corrected.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.recovery.archive import Archive, open_archive
from meltpoint.recovery.restore import ledger_versions
from meltpoint.recovery.sync import sync
from meltpoint.registry.promotion import registry_lock
from meltpoint.registry.versions import is_placeholder, key_of, versions_of
from meltpoint.terminal import say
from meltpoint.tracking.database import database, database_uri, led_elsewhere, make_database, read_schema
from meltpoint.tracking.runs import PROCESS, RUNNING, is_alive, runs_of
from meltpoint.tracking.store import Store


class RebuildError(UserError, RuntimeError):
    """The local store cannot be rebuilt now."""


def stale_addresses(store: Store) -> Counter[str]:
    """Where MLflow looks for files although this repository keeps them elsewhere: address to how often it is named."""
    client, found = store.client, Counter[str]()
    versions = versions_of(store).values()
    for address in (
        str(client.get_experiment(store.experiment).artifact_location),
        *(str(run.info.artifact_uri) for run in runs_of(store)),
        *(str(client.get_model_version_download_uri(store.name, version.version)) for version in versions),
    ):
        if elsewhere := led_elsewhere(store.root, store.uri, address):
            found[elsewhere[0]] += 1
    return found


def losses(root: Path, stores: Sequence[Store]) -> list[str]:
    """What a rebuild cannot restore, each kind in a few words. Without `stores`, of a database that cannot be read.

    Raises:
        SnapshotError: `root` is no DVC repository, from which nothing could be rebuilt.
    """
    with open_archive(root) as archive:
        known = [lost for store in stores for lost in (*_lost_runs(store, archive), *_lost_versions(store, archive))]
    names = {store.name for store in stores}
    others = [one.name for store in stores[:1] for one in store.client.search_experiments() if one.name not in names]
    return [
        *(known if stores else ["runs of states that are in no commit"]),
        *([f"other experiments: {', '.join(others)}"] if others else []),
        "notes, tags and names that somebody wrote by hand in MLflow",
    ]


def rebuild(root: Path, stores: Sequence[Store]) -> list[str]:
    """Replace the store by a fresh one; the old one is kept. It returns what could not be written.

    What only the old one holds is printed first. A rebuild that fails leaves everything as it was.

    Raises:
        RebuildError: a training writes to the old store.
        SnapshotError, SyncError: there is nothing to rebuild from.
        StoreError: MLflow cannot be used.
    """
    for run in (run for store in stores for run in runs_of(store)):
        if run.info.status == RUNNING and is_alive(run.data.tags.get(PROCESS)) is not False:
            raise RebuildError(
                f"{run.info.run_name!r} is running and writes to the store. A rebuild would lose what it writes. Wait "
                "until it has ended, then run the same command."
            )
    kept = root / "mlruns" / f"replaced-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    say(f"writing a fresh store from git, DVC's cache and the ledger; the old one will be in {kept}")
    for lost in losses(root, stores):
        say(f"not brought back: {lost}")
    path, before = database(root), set(_entries(root))
    fresh = path.with_name(f".{kept.name}.db")
    try:
        make_database(root, fresh)
        with registry_lock(root):  # what is registered between the two would be lost
            for left in (root / "mlruns").glob(".replaced-*.db*"):  # of a rebuild that was killed
                if not left.name.startswith(fresh.name):
                    left.unlink()
            _, problems = sync(root, database_uri(fresh))
            kept.mkdir()
            if read_schema(path) is None:  # SQLite would not write over it
                shutil.copyfile(path, kept / path.name)
                path.write_bytes(b"")
            else:
                _copy(path, kept / path.name)
            _copy(fresh, path)
    except BaseException:
        for entry in set(_entries(root)) - before:
            shutil.rmtree(entry)
        raise
    finally:
        fresh.unlink(missing_ok=True)
    for entry in before:
        place = kept / entry.relative_to(root / "mlruns")
        place.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(place)
    return problems


def _copy(path: Path, copy: Path) -> None:
    """Write one database over another in a single transaction, which open pages see too."""
    with closing(sqlite3.connect(path, timeout=30)) as source, closing(sqlite3.connect(copy, timeout=30)) as target:
        source.backup(target)


def _entries(root: Path) -> Iterator[Path]:
    """The folders of runs and of models below mlruns/artifacts."""
    artifacts = root / "mlruns" / "artifacts"
    for folder in (artifacts, artifacts / "models"):
        if folder.is_dir():
            yield from (entry for entry in folder.iterdir() if entry != artifacts / "models")


def _lost_runs(store: Store, archive: Archive) -> Iterator[str]:
    """Runs that nothing in git and DVC's cache would be logged as."""
    pipelines = [one for one in archive.pipelines if one.state.name == store.name]
    trained = {item for one in pipelines for item in one.keys.items()}
    older = {item for one in pipelines if not one.exact for item in one.keys.items()}
    tagged = [
        (run, run.data.tags.get("meltpoint.state"), (run.data.tags.get("strategy"), run.data.tags.get("meltpoint.key")))
        for run in runs_of(store)
    ]
    states = {one.state.digest for one in pipelines} | {state for _, state, training in tagged if training in older}
    lost = [
        run.info.run_name
        for run, state, training in tagged
        if state not in states or (training not in trained and run.data.tags.get("stage") != "pipeline")
    ]
    if lost:
        yield f"{len(lost)} runs of {store.name} that no commit and not the working tree holds, such as {lost[-1]!r}"


def _lost_versions(store: Store, archive: Archive) -> Iterator[str]:
    named = ledger_versions(store.root, store.name)
    there = versions_of(store)
    if unnamed := sorted(there.keys() - named.keys()):
        yield f"versions of {store.name} that promotions.jsonl does not name: {', '.join(map(str, unnamed))}"
    gone = [
        number
        for number, version in sorted(there.items())
        if number in named and not is_placeholder(version) and archive.find(store.name, key_of(version)) is None
    ]
    if gone:
        yield (
            f"the files of versions {', '.join(map(str, gone))} of {store.name}, whose models no commit or DVC's cache "
            "holds: they keep their numbers (dvc pull --all-commits may bring the files first)"
        )
