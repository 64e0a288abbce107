"""Where MLflow keeps what it shows: on a server, or in mlruns/ under the root of the repository.

Nothing else imports mlflow at its top, so that telemetry is off and timeouts are short before it is first imported.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock

from meltpoint.tracking.database import (
    database,
    database_uri,
    led_elsewhere,
    local_artifacts,
    lock_path,
    make_database,
    store_uri,
)
from meltpoint.tracking.mlflow_errors import StoreError, explain, guarded_client, keep_quiet, ours

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS_A_CALL, PARAMS_A_CALL = 1000, 100  # limits of MLflow's log_batch
LONGEST_PARAM, LONGEST_TAG = 6000, 8000  # characters


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
        with FileLock(lock_path(self.root, what)):
            yield


def repository_root() -> Path:
    """The real repository: the working directory of `dvc exp run --temp` is a copy that is thrown away."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def open_store(name: str, root: Path | None = None, uri: str | None = None, moved: bool = False) -> Store:
    """Open the store, or the one at `uri`, and make its database and the experiment `name` where they are missing.

    `moved` is for what writes no files: then the store may be that of a repository that was moved or copied.

    Raises:
        StoreError: a server does not answer, a database was made by another version of MLflow, or files would be
            written into another repository.
    """
    keep_quiet()
    from mlflow import MlflowClient

    root = root or repository_root()
    uri = uri or store_uri(root)
    try:
        with ours(uri):
            if uri == database_uri(database(root)):
                make_database(root)
            client = guarded_client(MlflowClient(tracking_uri=uri, registry_uri=uri), uri)
            store = Store(uri, root, client, name, _experiment(client, name, root, uri))
    except OSError as error:
        raise StoreError(explain(uri, error)) from error
    if not moved and (why := kept_elsewhere(store)):
        raise StoreError(why)
    return store


def kept_elsewhere(store: Store) -> str | None:
    """Why nothing may be written to a store that came from another place with its repository; None if it did not."""
    location = str(store.client.get_experiment(store.experiment).artifact_location)
    if (elsewhere := led_elsewhere(store.root, store.uri, location)) is None:
        return None
    return (
        f"MLflow's store in {store.root / 'mlruns'} keeps its files in {elsewhere[0]}: this repository was moved or "
        "copied from there, and what is written would go there. Allowed is a store that keeps them here. Write it anew "
        "from DVC's outputs: meltpoint doctor --repair"
    )


def _experiment(client: "MlflowClient", name: str, root: Path, uri: str) -> str:
    """The id of the experiment `name`; made, or taken out of the bin, where it is missing."""
    with FileLock(lock_path(root, "experiment")):
        found = client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        location = local_artifacts(root) if uri.startswith("sqlite") else None
        tags = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": _ABOUT.format(name=name)}
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=tags))
        except StoreError:
            if (made := client.get_experiment_by_name(name)) is None:  # not even by another clone meanwhile
                raise
            return str(made.experiment_id)


_ABOUT = (
    "How far to unfreeze the backbone of **{name}**. A row is a state of the pipeline; open it to see its strategies. "
    "The decision stands in the description of the row; the model that serves is the version with the alias `champion`."
)
