"""Versions of the registered model: one for each model folder, found by its fingerprint."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from meltpoint.model.card import read_card
from meltpoint.registry.ledger import VersionFacts
from meltpoint.registry.version_files import (
    PACKAGE,
    VersionError,
    fetch,
    files_folder,
    fingerprint,
    is_on_server,
    log_files,
    package_fingerprint,
)
from meltpoint.serving.mlflow_package import INSIDE
from meltpoint.tasks.contract import load_registry
from meltpoint.tracking.pipeline_state import PipelineState
from meltpoint.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as ModelVersion

KEY = "meltpoint.key"  # tag of a version: `fingerprint` of its model folder
TRAINED = "meltpoint.trained"  # tag of a version: the key of its model's card
MISSING = "meltpoint.missing"  # tag of a placeholder: the fingerprint of what it stands for
REUSE = "test set"  # tag of a version: how many models had been judged on its test set
CHAMPION, PREVIOUS, CANDIDATE = "champion", "previous", "candidate"


def find_version(store: Store, key: str) -> "ModelVersion | None":
    """The oldest version made from the model folder with this fingerprint."""
    found = store.client.search_model_versions(f"name = '{store.name}' and tags.`{KEY}` = '{key}'")
    ready = [version for version in found if version.status == "READY"]
    return min(ready, key=lambda version: int(version.version), default=None)


def create_version(
    store: Store, state: PipelineState, strategy: str, run: str, tags: Mapping[str, str], description: str
) -> "ModelVersion":
    """Package models/`strategy`, log it as the output of its run, and make a version of it. `tags` hold its `KEY`.

    The package carries golden answers (see `golden_answers`).
    """
    ensure_registered(store)
    tags = {**tags, TRAINED: read_card(state.folder / "models" / strategy).key}
    logged = store.client.search_logged_models([store.experiment], f"tags.`{KEY}` = '{tags[KEY]}'", max_results=5)
    ready = (model.model_id for model in logged if str(model.status) == "READY")  # a crash left it without a version
    model_id = next(ready, None) or _log_model(store, state, strategy, run, tags)
    tags |= {name: text for name, text in store.client.get_logged_model(model_id).tags.items() if name == PACKAGE}
    with store.in_environment():
        return store.client.create_model_version(
            store.name, f"models:/{model_id}", run, tags=dict(tags), description=description, model_id=model_id
        )


def create_placeholder(store: Store, key: str, tags: Mapping[str, str]) -> None:
    """A version without files, so that the next one gets its number; `key` is the fingerprint that it stands for."""
    ensure_registered(store)
    tags = {MISSING: key, **tags}
    about = "A placeholder: the files of this version are not here. `meltpoint sync` fills it once they are."
    model = store.client.create_logged_model(store.experiment, "placeholder", tags=tags)
    with store.in_environment():
        source = f"models:/{model.model_id}"
        store.client.create_model_version(store.name, source, tags=tags, description=about, model_id=model.model_id)


def refill_version(store: Store, version: "ModelVersion", state: PipelineState, strategy: str, run: str) -> None:
    """Write the files of a version again, from models/`strategy`, to the place that it has."""
    if (old := files_folder(store, version)) is not None:
        shutil.rmtree(old, ignore_errors=True)  # what is left of it may hold files of something else
    package = log_files(store, state, strategy, run, _model_id(version))
    store.client.set_model_version_tag(store.name, version.version, PACKAGE, package)


def complete_placeholder(
    store: Store, version: "ModelVersion", run: str, tags: Mapping[str, str], description: str
) -> None:
    """Make a placeholder whose files are written now a version like any other, the output of `run`."""
    from mlflow.entities import LoggedModelOutput

    model = _model_id(version)
    store.client.log_outputs(run, [LoggedModelOutput(model, step=0)])
    store.client.set_logged_model_tags(model, dict(tags))
    store.client.finalize_logged_model(model, "READY")
    for name, value in tags.items():
        if name not in version.tags:  # what the ledger says of it comes first
            store.client.set_model_version_tag(store.name, version.version, name, value)
    store.client.update_model_version(store.name, version.version, description)
    store.client.delete_model_version_tag(store.name, version.version, MISSING)


def ensure_registered(store: Store) -> None:
    """Make the registered model if there is none."""
    if not store.client.search_registered_models(f"name = '{store.name}'"):
        about = (
            f"What `meltpoint` found best to ship for **{store.name}**. `champion` serves, `previous` served before, "
            "`candidate` was not good enough: the version's tag `gate` and promotions.jsonl say why.\n\n"
            f"Serve it on this machine: `meltpoint serve models:/{store.name}@champion`. It runs no code of a version "
            "whose files are not those that were registered. "
            'A request is `{"dataframe_records": [{"image": "<base64 of an image file>"}]}`.'
        )
        store.client.create_registered_model(store.name, description=about)


def aliases(store: Store) -> dict[str, str]:
    """Alias to version, as they are now."""
    found = store.client.search_registered_models(f"name = '{store.name}'")
    return {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}


def versions_of(store: Store) -> "dict[int, ModelVersion]":
    """The versions that the store has, by number."""
    return {int(one.version): one for one in store.client.search_model_versions(f"name = '{store.name}'")}


def key_of(version: "ModelVersion") -> str:
    """The fingerprint of the model folder that a version was made of, or that a placeholder stands for."""
    return str(version.tags.get(KEY) or version.tags.get(MISSING))


def identified(facts: VersionFacts, store: Store, version: str) -> VersionFacts:
    """Facts with what a version is made of."""
    tags = store.client.get_model_version(store.name, version).tags
    return replace(facts, key=tags.get(KEY, ""), strategy=tags.get("strategy"), trained=tags.get(TRAINED))


def is_placeholder(version: "ModelVersion") -> bool:
    """Whether a version has only a number so far: its files were missing when it was restored."""
    return MISSING in version.tags


def is_whole(store: Store, version: "ModelVersion") -> bool:
    """Whether the files of a version are there; those on this machine are compared with its fingerprints.

    So are those on a server, if an alias points to the version.
    """
    if is_placeholder(version):
        return False
    folder = files_folder(store, version)
    if folder is None and not version.aliases:
        return is_on_server(store, version)
    try:
        folder = folder or fetch(f"models:/{store.name}/{version.version}", store.uri).parents[1]
    except VersionError:
        return False
    package = version.tags.get(PACKAGE)
    return (
        (folder / INSIDE).is_dir()
        and version.tags.get(KEY) in (None, fingerprint(folder / INSIDE))
        and package in (None, package_fingerprint(folder))
    )


def _model_id(version: "ModelVersion") -> str:
    """The logged model that a version is made of."""
    return str(version.source).removeprefix("models:/")


def _log_model(store: Store, state: PipelineState, strategy: str, run: str, tags: Mapping[str, str]) -> str:
    from mlflow.entities import LoggedModelOutput, Metric

    kind = load_registry(state.params["task"]["kind"]).MODEL_TYPE
    model = store.client.create_logged_model(
        store.experiment, strategy, run, tags=dict(tags), params=state.own(strategy), model_type=kind
    )
    package = log_files(store, state, strategy, run, model.model_id)
    store.client.set_logged_model_tags(model.model_id, {PACKAGE: package})
    store.client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    # The model gets the test scores of its run: the same points, so that the run gets none twice.
    names = [name for name in store.client.get_run(run).data.metrics if name.startswith("test/")]
    points = [store.client.get_metric_history(run, name)[-1] for name in names]
    named = {"dataset_name": f"{state.name} test", "dataset_digest": state.data[:12], "run_id": run}
    own = [Metric(at.key, at.value, at.timestamp, at.step, model_id=model.model_id, **named) for at in points]
    store.client.log_batch(run, own)
    store.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)
