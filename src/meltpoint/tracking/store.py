"""Where MLflow keeps what it shows: on a server, or in mlruns/ under the root of the repository.

Nothing else imports mlflow at its top, so that telemetry is off and timeouts are short before it is first imported.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock

from meltpoint.errors import UserError
from meltpoint.files import whole_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS_A_CALL, PARAMS_A_CALL = 1000, 100  # limits of MLflow's log_batch
LONGEST_PARAM, LONGEST_TAG = 6000, 8000  # characters


class StoreError(UserError, RuntimeError):
    """MLflow's store cannot be reached or used."""


class Point(NamedTuple):
    """One value of one metric; `timestamp` is in milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class Store:
    """An open store with the experiment of one registered model. Every call names its run: there is no active run."""

    uri: str
    root: Path
    client: "MlflowClient"
    name: str  # of the registered model, and of its experiment
    experiment: str  # its id

    def log(
        self,
        run: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write points, params and tags to a run in as few calls as MLflow allows."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*point) for point in points]
        entries = [Param(key, value[:LONGEST_PARAM]) for key, value in (params or {}).items()]
        labels = [RunTag(key, value[:LONGEST_TAG]) for key, value in (tags or {}).items()]
        for start in range(0, len(metrics), METRICS_A_CALL):
            self.client.log_batch(run, metrics=metrics[start : start + METRICS_A_CALL])
        for start in range(0, len(entries), PARAMS_A_CALL):
            self.client.log_batch(run, params=entries[start : start + PARAMS_A_CALL])
        if labels:
            self.client.log_batch(run, tags=labels)

    @contextmanager
    def in_environment(self) -> Iterator[None]:
        """For the calls in which MLflow forgets which store a client belongs to, and asks the environment."""
        before = os.environ.get("MLFLOW_TRACKING_URI")
        os.environ["MLFLOW_TRACKING_URI"] = self.uri
        try:
            yield
        finally:
            del os.environ["MLFLOW_TRACKING_URI"]
            if before is not None:
                os.environ["MLFLOW_TRACKING_URI"] = before

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Hold the lock called `what`: one process of this repository at a time."""
        with FileLock(_lock_path(self.root, what)):
            yield


def repository_root() -> Path:
    """The real repository: the working directory of `dvc exp run --temp` is a copy that is thrown away."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def store_uri(root: Path) -> str:
    """The address of the tracking store: MLFLOW_TRACKING_URI if it is set, else the database in mlruns/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or database_uri(root / "mlruns" / "mlflow.db")


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


def is_local(root: Path) -> bool:
    """Whether the store is the database in mlruns/ of the repository at `root`."""
    return store_uri(root) == database_uri(root / "mlruns" / "mlflow.db")


def local_artifacts(root: Path) -> str:
    """The address under which runs of the local store keep their files."""
    return (root / "mlruns" / "artifacts").as_uri()


def open_store(name: str, root: Path | None = None) -> Store:
    """Open the store, and make its database and the experiment `name` where they are missing.

    Raises:
        StoreError: a server does not answer, or a database was made by another version of MLflow.
    """
    keep_quiet()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    root = root or repository_root()
    uri = store_uri(root)
    try:
        if is_local(root):
            make_database(root)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        return Store(uri, root, client, name, _experiment(client, name, root, uri))
    except (MlflowException, OSError) as error:
        raise StoreError(_explain(uri, error)) from error


def keep_quiet() -> None:
    """Turn telemetry off, and make a dead server a matter of seconds; what the user has set stays."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # prints a traceback of what it raises


def make_database(root: Path) -> None:
    """Make mlruns/mlflow.db with today's schema: once, by one process, whole or not at all."""
    path = root / "mlruns" / "mlflow.db"
    with FileLock(_lock_path(root, "database")):
        if path.exists():
            return
        keep_quiet()
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with whole_file(path) as temporary:
            empty = SqlAlchemyStore(database_uri(temporary), local_artifacts(root))  # type: ignore[no-untyped-call]
            empty.delete_experiment("0")  # type: ignore[no-untyped-call]  # "Default", which nobody asked for
            empty.engine.dispose()


def _experiment(client: "MlflowClient", name: str, root: Path, uri: str) -> str:
    """The id of the experiment `name`; made, or taken out of the bin, where it is missing."""
    with FileLock(_lock_path(root, "experiment")):
        found = client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        location = local_artifacts(root) if uri.startswith("sqlite") else None
        tags = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": _ABOUT.format(name=name)}
        return str(client.create_experiment(name, artifact_location=location, tags=tags))


_ABOUT = (
    "How far to unfreeze the backbone of **{name}**. A row is a state of the pipeline; open it to see its strategies. "
    "The decision stands in the description of the row; the model that serves is the version with the alias `champion`."
)


def _lock_path(root: Path, what: str) -> str:
    folder = root / "mlruns"
    folder.mkdir(exist_ok=True)
    return str(folder / f".{what}.lock")


def _explain(uri: str, error: Exception) -> str:
    """What is wrong with the store, and how to mend it."""
    reason = str(error).splitlines()[0][:300]
    if "database schema" in reason:
        return (
            f"The database of MLflow was made by another version of MLflow: {reason} "
            f"Allowed is the schema of the installed one. Copy the file, then run: .venv/bin/mlflow db upgrade {uri}"
        )
    return (
        f"MLflow's store cannot be used: {uri} gives {json.dumps(reason)}. Allowed are a running server or a writable "
        "mlruns/ folder. Start the server, or unset MLFLOW_TRACKING_URI to use mlruns/."
    )
