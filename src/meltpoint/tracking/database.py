"""The local store: mlruns/mlflow.db and the files beside it, in the repository."""

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.request import url2pathname

from filelock import FileLock

from meltpoint.files import whole_file
from meltpoint.tracking.mlflow_errors import StoreError, keep_quiet

ARTIFACTS = re.compile(r"(file://.*?/mlruns/artifacts)(?=/|$)")


def database(root: Path) -> Path:
    """The database of the repository at `root`."""
    return root / "mlruns" / "mlflow.db"


def database_uri(path: Path) -> str:
    """The address of a database file. `?` would begin options, and `%` an escaped letter: these two are escaped.

    Such an address names the driver, as MLflow takes one that does not for a path, and makes folders called so.

    Raises:
        StoreError: the installed SQLAlchemy does not read an escaped address as that path.
    """
    escaped = str(path).replace("%", "%25").replace("?", "%3F")
    if escaped == str(path):
        return f"sqlite:///{path}"
    from sqlalchemy import make_url

    uri = f"sqlite+pysqlite:///{escaped}"
    if make_url(uri).database != str(path):
        raise StoreError(
            f"MLflow's database cannot be addressed in {path.parent}: the path holds ? or %, and the installed"
            " SQLAlchemy is older than 2.1. Move the repository to a path without them, or install what"
            " requirements.lock names."
        )
    return uri


def store_uri(root: Path) -> str:
    """The address of the tracking store: MLFLOW_TRACKING_URI if it is set, else the database in mlruns/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or database_uri(database(root))


def is_local(root: Path) -> bool:
    """Whether the store is the database in mlruns/ of the repository at `root`."""
    return store_uri(root) == database_uri(database(root))


def local_artifacts(root: Path) -> str:
    """The address under which runs of the local store keep their files."""
    return (root / "mlruns" / "artifacts").as_uri()


def led_elsewhere(root: Path, uri: str, address: str) -> tuple[str, Path] | None:
    """Of an address that leads to another repository: to which place, and where the same is in this one.

    Addresses are absolute, and a repository that is moved or copied takes its store along. None if the address leads
    here, or to a place that somebody chose, or if the store at `uri` is not that of the repository.
    """
    found = ARTIFACTS.match(address)
    if found is None or found[1] == local_artifacts(root) or uri != database_uri(database(root)):
        return None
    there, here = Path(url2pathname(found[1].removeprefix("file://"))), root / "mlruns" / "artifacts"
    own = here / url2pathname(address[found.end() :]).lstrip("/")
    if there.exists() and here.exists() and there.samefile(here):
        return None
    chosen = there.exists() and not own.exists() and not database(there.parents[1]).exists()
    return None if chosen else (found[1], own)


def lock_path(root: Path, what: str) -> str:
    """The lock file called `what`."""
    folder = root / "mlruns"
    folder.mkdir(exist_ok=True)
    return str(folder / f".{what}.lock")


def make_database(root: Path, path: Path | None = None) -> None:
    """Make mlruns/mlflow.db, or `path`, with today's schema: once, by one process, whole or not at all."""
    path = path or database(root)
    with FileLock(lock_path(root, "database")):
        for half in path.parent.glob(".mlflow.*.db*"):  # of a process that was killed, as the lock is ours
            half.unlink()
        if path.exists():
            return
        keep_quiet()
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with whole_file(path) as temporary:
            empty = SqlAlchemyStore(database_uri(temporary), local_artifacts(root))  # type: ignore[no-untyped-call]
            empty.delete_experiment("0")  # type: ignore[no-untyped-call]  # "Default", which nobody asked for
            empty.engine.dispose()


def read_schema(path: Path) -> str | None:
    """The schema that a database has; None if the file is not a database of MLflow, or is damaged."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as tables:
            (found,) = tables.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(found) if tables.execute("PRAGMA quick_check(1)").fetchone() == ("ok",) else None
    except (sqlite3.Error, TypeError):
        return None


def known_schemas() -> list[str]:
    """The schemas that the installed MLflow knows, the one that it wants first."""
    keep_quiet()
    import mlflow
    from alembic.script import ScriptDirectory

    migrations = Path(mlflow.__path__[0]) / "store" / "db_migrations"
    return [script.revision for script in ScriptDirectory(str(migrations)).walk_revisions()]
