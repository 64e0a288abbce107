"""A fresh local store, written by `sync` beside the old one and swapped in whole; the old one is kept.

MLflow has no way to change where a run keeps its files, so that nothing in an old database is corrected.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import url2pathname

from meltpoint.errors import UserError
from meltpoint.progress import say
from meltpoint.recovery.archive import Archive, open_archive
from meltpoint.recovery.restore import ledger_versions
from meltpoint.recovery.sync import sync
from meltpoint.registry.promotion import registry_lock
from meltpoint.registry.versions import is_placeholder, key_of, versions_of
from meltpoint.tracking.database import database, database_uri, local_artifacts, make_database, open_tables, read_schema
from meltpoint.tracking.runs import PROCESS, RUNNING, is_alive, runs_of
from meltpoint.tracking.store import Store

ARTIFACTS = re.compile(r"(file://.*?/mlruns/artifacts)(?=/|$)")


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
        place = ARTIFACTS.match(address)
        if place is not None and _is_stale(place[1], address[place.end() :], store.root):
            found[place[1]] += 1
    return found


def losses(root: Path, stores: Sequence[Store]) -> list[str]:
    """What a rebuild cannot bring back, each kind in a few words. Without `stores`, of a database that none can read.

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
    """Write a fresh store and let it take the place of the old one, which is kept; what could not be written.

    What the old one alone holds is said before. A rebuild that fails leaves everything as it was.

    Raises:
        RebuildError: a training writes to the old store.
        SnapshotError, SyncError: there is nothing to rebuild from.
        StoreError: MLflow cannot be used.
    """
    if busy := [run for store in stores for run in runs_of(store) if _is_written(run.info.status, run.data.tags)]:
        raise RebuildError(
            f"{busy[0].info.run_name!r} is running and writes to the store. A rebuild would lose what it writes. Wait "
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
            _, problems = sync(root, database_uri(fresh))
            kept.mkdir()
            _swap(fresh, path, kept / path.name)
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


def _swap(fresh: Path, path: Path, kept: Path) -> None:
    """Keep a copy of the database `path`, then write `fresh` over it in one transaction, which open pages see too."""
    if read_schema(path) is None:  # SQLite would not write over it
        shutil.copyfile(path, kept)
        path.write_bytes(b"")
    else:
        _copy(path, kept)
    _copy(fresh, path)


def _copy(path: Path, copy: Path) -> None:
    with open_tables(path) as source, open_tables(copy) as target:
        source.backup(target)


def _entries(root: Path) -> Iterator[Path]:
    """The folders of runs and of models below mlruns/artifacts."""
    artifacts = root / "mlruns" / "artifacts"
    for folder in (artifacts, artifacts / "models"):
        if folder.is_dir():
            yield from (entry for entry in folder.iterdir() if entry != artifacts / "models")


def _is_written(status: str, tags: dict[str, str]) -> bool:
    return status == RUNNING and is_alive(tags.get(PROCESS)) is not False


def _is_stale(place: str, rest: str, root: Path) -> bool:
    """Whether an address is another repository's: nothing is there, or the same is here."""
    if place == local_artifacts(root):
        return False
    here = root / "mlruns" / "artifacts" / url2pathname(rest).lstrip("/")
    return here.exists() or not Path(url2pathname(place.removeprefix("file://"))).exists()


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
