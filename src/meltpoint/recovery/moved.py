"""What ages in mlruns/mlflow.db: a schema older than the library, and addresses left behind when a repository moves.

MLflow has no way to change where a run keeps its files: this file alone writes to the tables themselves.
"""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import url2pathname

from meltpoint.errors import UserError
from meltpoint.files import whole_file
from meltpoint.tracking.store import database_uri, keep_quiet, local_artifacts

PLACES = (  # table, column
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
ARTIFACTS = re.compile(r"(file://.*?/mlruns/artifacts)(?=/|$)")


class DatabaseError(UserError, RuntimeError):
    """mlruns/mlflow.db is no database of MLflow, or its schema cannot be brought up to date."""


def database(root: Path) -> Path:
    """The database of the repository at `root`."""
    return root / "mlruns" / "mlflow.db"


def read_schema(root: Path) -> str:
    """The schema that the database has.

    Raises:
        DatabaseError: the file is no database of MLflow.
    """
    try:
        with _tables(database(root)) as tables:
            (found,) = tables.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(found)
    except (sqlite3.Error, TypeError) as error:
        raise DatabaseError(
            f"{database(root)} is not a database of MLflow: {error}. It has to be one, and all that it shows "
            "can be written again. Move it away, then run: meltpoint sync"
        ) from None


def known_schemas() -> list[str]:
    """The schemas that the installed MLflow knows, the one that it wants first."""
    keep_quiet()
    import mlflow
    from alembic.script import ScriptDirectory

    migrations = Path(mlflow.__path__[0]) / "store" / "db_migrations"
    return [script.revision for script in ScriptDirectory(str(migrations)).walk_revisions()]


def upgrade(root: Path) -> Path:
    """Bring the database to the schema that the installed MLflow wants; the copy of what it was before.

    A copy is brought up to date, and takes the database's place in one step.

    Raises:
        DatabaseError: MLflow refuses.
    """
    path = database(root)
    kept = path.with_name(f"{path.name}.{read_schema(root)}")
    with whole_file(kept) as copy:
        _copy(path, copy)
    with whole_file(path) as copy:
        _copy(kept, copy)
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", database_uri(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:300]
            raise DatabaseError(
                f"{path} cannot be brought to the schema of the installed MLflow: {reason} It has to be one of "
                "an older MLflow. It is as it was. Move it away, then run: meltpoint sync"
            )
    return kept


def stale_places(root: Path) -> dict[str, int]:
    """Where the database looks for files although this repository keeps them elsewhere: address to number of rows."""
    found: dict[str, int] = {}
    with _tables(database(root)) as tables:
        for table, column in PLACES:
            for (value,) in tables.execute(f"SELECT {column} FROM {table} WHERE {column} LIKE 'file:%'"):  # noqa: S608
                place = ARTIFACTS.match(value)
                if place is not None and _is_stale(place[1], value[place.end() :], root):
                    found[place[1]] = found.get(place[1], 0) + 1
    return found


def correct_places(root: Path) -> None:
    """Let every stale address point into this repository, all or none of them."""
    new, stale = local_artifacts(root), list(stale_places(root))
    with _tables(database(root)) as tables, tables:
        for old in stale:
            for table, column in PLACES:
                tables.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                )


def _is_stale(place: str, rest: str, root: Path) -> bool:
    """Whether an address is another repository's: nothing is there, or the same is here."""
    if place == local_artifacts(root):
        return False
    here = root / "mlruns" / "artifacts" / url2pathname(rest).lstrip("/")
    return here.exists() or not Path(url2pathname(place.removeprefix("file://"))).exists()


def _copy(path: Path, copy: Path) -> None:
    """Copy a database as it is at one moment, whoever writes to it meanwhile."""
    with _tables(path) as source, _tables(copy) as target:
        source.backup(target)


@contextmanager
def _tables(path: Path) -> Iterator[sqlite3.Connection]:
    """An open database."""
    with closing(sqlite3.connect(path, timeout=30)) as tables:
        yield tables
