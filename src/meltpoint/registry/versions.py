"""Versions of the registered model: one for each model folder, found by its fingerprint, fetched as a folder."""

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from PIL import Image

from meltpoint.errors import UserError
from meltpoint.files import sha256_of
from meltpoint.images.views import Views, open_views
from meltpoint.model.card import read_card, views_of
from meltpoint.registry.golden_answers import CHECK, write_check
from meltpoint.serving.mlflow_package import INSIDE, write_package
from meltpoint.tasks.contract import load_registry
from meltpoint.tracking.pipeline_state import State
from meltpoint.tracking.store import Store, keep_quiet, repository_root, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

KEY = "meltpoint.key"  # tag of a version: `fingerprint` of its model folder
TRAINED = "meltpoint.trained"  # tag of a version: the key of its model's card
WORN = "test set"  # tag of a version: how many models had been judged on its test set
CHAMPION, PREVIOUS, CANDIDATE = "champion", "previous", "candidate"


class VersionError(UserError, RuntimeError):
    """A registered model or version is not there, or its files are gone."""


def fingerprint(folder: Path) -> str:
    """The sha256 over the names and bytes of every file of a model folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def find_version(store: Store, key: str) -> "ModelVersion | None":
    """The oldest version made from the model folder with this fingerprint."""
    found = store.client.search_model_versions(f"name = '{store.name}' and tags.`{KEY}` = '{key}'")
    ready = [version for version in found if version.status == "READY"]
    return min(ready, key=lambda version: int(version.version), default=None)


def create_version(
    store: Store, state: State, strategy: str, run: str, tags: Mapping[str, str], description: str
) -> "ModelVersion":
    """Package models/`strategy`, log it as the output of its run, and make a version of it. `tags` hold its `KEY`.

    The package carries what the model says of a few test pictures of the pipeline's views (see `check`).
    """
    ensure_registered(store)
    tags = {**tags, TRAINED: read_card(state.folder / "models" / strategy).key}
    model_id = _find_logged(store, tags[KEY]) or _log_model(store, state, strategy, run, tags)
    with store.in_environment():
        return store.client.create_model_version(
            store.name, f"models:/{model_id}", run, tags=dict(tags), description=description, model_id=model_id
        )


def ensure_registered(store: Store) -> None:
    """Make the registered model if there is none."""
    if not store.client.search_registered_models(f"name = '{store.name}'"):
        about = (
            f"What `meltpoint` found best to ship for **{store.name}**. `champion` serves, `previous` served before, "
            "`candidate` was not good enough: the version's tag `gate` and promotions.jsonl say why.\n\n"
            "Serve it on this machine: `MLFLOW_TRACKING_URI=sqlite:///mlruns/mlflow.db mlflow models serve "
            f"-m models:/{store.name}@champion --env-manager local`. "
            'A request is `{"dataframe_records": [{"image": "<base64 of an image file>"}]}`.'
        )
        store.client.create_registered_model(store.name, description=about)


def aliases(store: Store) -> dict[str, str]:
    """Alias to version, as they are now."""
    found = store.client.search_registered_models(f"name = '{store.name}'")
    return {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}


def identity(store: Store, version: str) -> dict[str, str | None]:
    """What a version is made of, as the ledger names it: `key`, `strategy` and `trained`."""
    tags = store.client.get_model_version(store.name, version).tags
    return {"key": tags.get(KEY, ""), "strategy": tags.get("strategy"), "trained": tags.get(TRAINED)}


def fetch(where: str, uri: str | None = None) -> Path:
    """The model folder of `models:/NAME@ALIAS` or `models:/NAME/VERSION`; a copy only if the store is elsewhere.

    Raises:
        VersionError: there is no such version, or its files are gone.
    """
    keep_quiet()
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = uri or store_uri(repository_root())
    try:
        files = _files_of(MlflowClient(tracking_uri=uri, registry_uri=uri), where)
        folder = Path(download_artifacts(artifact_uri=files, tracking_uri=uri, registry_uri=uri)) / INSIDE
    except (MlflowException, OSError, ValueError) as error:
        raise VersionError(
            f"{where} cannot be loaded from {uri}: {str(error).splitlines()[0][:300]} Allowed are names such as "
            "models:/NAME@champion and models:/NAME/3. See what there is: meltpoint ui"
        ) from error
    if not folder.is_dir():
        raise VersionError(
            f"{where} holds no {INSIDE}: it was not registered by meltpoint, or its files are gone. "
            "Write them again from DVC's outputs: meltpoint sync"
        )
    return folder


def fetch_package(where: str) -> Path:
    """The whole MLflow model of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, as `mlflow models serve` takes it.

    Raises:
        VersionError: there is no such version, or its files are gone.
    """
    return fetch(where).parents[1]


def _files_of(client: "MlflowClient", where: str) -> str:
    """Where the files of a version lie. MLflow resolves `models:` with a global address, so that is done here."""
    parts = re.fullmatch(r"models:/([^/@]+)(?:@([^/]+)|/(\d+))", where)
    if parts is None:
        raise ValueError("it is not the name of a version.")
    name, alias, version = parts.groups()
    if alias:
        version = str(client.get_model_version_by_alias(name, alias).version)
    return str(client.get_model_version_download_uri(name, version))


def _find_logged(store: Store, key: str) -> str | None:
    """A model that was logged whole, while something kept its version from being made."""
    found = store.client.search_logged_models([store.experiment], f"tags.`{KEY}` = '{key}'", max_results=5)
    return next((model.model_id for model in found if str(model.status) == "READY"), None)


def _log_model(store: Store, state: State, strategy: str, run: str, tags: Mapping[str, str]) -> str:
    from mlflow.entities import LoggedModelOutput

    kind = load_registry(state.params["task"]["kind"]).MODEL_TYPE
    model = store.client.create_logged_model(
        store.experiment, strategy, run, tags=dict(tags), params=state.own(strategy), model_type=kind
    )
    log_files(store, state, strategy, run, model.model_id)
    store.client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    _log_scores(store, state, run, model.model_id)
    store.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def log_files(store: Store, state: State, strategy: str, run: str, model: str) -> None:
    """Package models/`strategy`, and what it says of a few pictures, as the files of the logged model `model`."""
    with TemporaryDirectory() as temporary:
        package = Path(temporary) / "model"
        folder = state.folder / "models" / strategy
        views = open_views(views_of(read_card(folder), state.folder))
        write_package(folder, _example(views), model, run, package)
        write_check(folder, views, (package / INSIDE).with_name(CHECK))
        store.client.log_model_artifacts(model, str(package))


def _log_scores(store: Store, state: State, run: str, model: str) -> None:
    """Give the model the test scores of its run; the same points, so that the run gets none twice."""
    from mlflow.entities import Metric

    names = [name for name in store.client.get_run(run).data.metrics if name.startswith("test/")]
    points = [store.client.get_metric_history(run, name)[-1] for name in names]
    named = {"model_id": model, "dataset_name": f"{state.name} test", "dataset_digest": state.data[:12], "run_id": run}
    store.client.log_batch(run, [Metric(at.key, at.value, at.timestamp, at.step, **named) for at in points])


def _example(views: Views) -> str:
    """The first image of test as base64 text of a PNG."""
    content = io.BytesIO()
    Image.fromarray(views.plain[int(views.rows("test")[0])]).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
