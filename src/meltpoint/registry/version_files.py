"""The files of a version: packaged, written into MLflow, and fetched as a folder."""

import base64
import io
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from PIL import Image

from meltpoint.errors import UserError
from meltpoint.images.views import open_views
from meltpoint.model.card import read_card, views_of
from meltpoint.model.manifest import ManifestError, check_manifest, write_manifest
from meltpoint.registry.golden_answers import CHECK, write_golden_answers
from meltpoint.serving.mlflow_package import INSIDE, write_package
from meltpoint.terminal import complain, say
from meltpoint.tracking.artifacts import digest_of
from meltpoint.tracking.database import led_elsewhere, store_uri
from meltpoint.tracking.mlflow_errors import StoreError, keep_quiet, ours
from meltpoint.tracking.pipeline_state import PipelineState
from meltpoint.tracking.store import Store, repository_root

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PACKAGE = "meltpoint.package"  # tag of a version: `package_fingerprint` of its files
COMPILED = "__pycache__"  # what Python makes of code that runs; of no package, and never loaded from one
NAME = re.compile(r"models:/([^/@]+)(?:@([^/]+)|/(\d+))")


class VersionError(UserError, RuntimeError):
    """A registered model or version is not there, or its files are gone."""


def fingerprint(folder: Path) -> str:
    """The sha256 over the names and bytes of every file of a model folder."""
    return digest_of(sorted(file for file in folder.rglob("*") if file.is_file()), folder)


def package_fingerprint(package: Path) -> str:
    """The sha256 over the names and bytes of every file of a version: its model, its code, what describes both."""
    found = sorted(path for path in package.rglob("*") if path.is_file() or path.is_symlink())
    if links := [path for path in found if path.is_symlink()]:
        return f"link: {links[0].relative_to(package)}"  # which no version is registered with
    return digest_of([path for path in found if COMPILED not in path.relative_to(package).parts], package)


def fetch(where: str, uri: str | None = None) -> Path:
    """The model folder of `models:/NAME@ALIAS` or `models:/NAME/VERSION`; a copy only if the store is elsewhere.

    Raises:
        VersionError: there is no such version, or its files are gone.
    """
    return fetch_version(where, uri)[0]


def fetch_package(where: str, uri: str | None = None) -> Path:
    """The whole MLflow model of a version, compared with the registered fingerprint before any code of it runs.

    Compiled code that a server left in it is deleted: Python would load that instead of the code that was checked.

    Raises:
        VersionError: there is no such version, its files are gone, or one of them was changed, added or removed.
        ManifestError: the model of a version without a fingerprint is not as it was saved.
    """
    folder, version = fetch_version(where, uri)
    package, tags = folder.parents[1], version.tags
    for compiled in [path for path in package.rglob(COMPILED) if path.is_dir() and not path.is_symlink()]:
        shutil.rmtree(compiled, ignore_errors=not compiled.exists())  # one may have been inside another
    if PACKAGE not in tags:
        check_manifest(folder)
        say(f"note: an older version of Meltpoint registered {where}, without a fingerprint of its code: not checked")
    elif (found := package_fingerprint(package)) != tags[PACKAGE]:
        raise VersionError(
            f"The files of {where} in {package} are not those that were registered: their fingerprint is {found[:12]} "
            f"and was {tags[PACKAGE][:12]}{_changes(package)}. No code of it was run. Write them again from DVC's "
            "outputs: meltpoint doctor --repair"
        )
    return package


def _changes(package: Path) -> str:
    """What differs from the manifest of a package, which may have been changed itself."""
    try:
        check_manifest(package)
    except ManifestError as error:
        return f" ({error.what})"
    return ""


def fetch_version(where: str, uri: str | None = None) -> "tuple[Path, ModelVersion]":
    """The model folder of a version, as `fetch` gives it, and the version itself.

    Raises:
        VersionError: there is no such version, or its files are gone.
    """
    keep_quiet()
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    uri = uri or store_uri(repository_root())
    try:
        with ours(uri):
            # MLflow resolves `models:` with an address that is global to the process; so that is done here.
            client, parts = MlflowClient(tracking_uri=uri, registry_uri=uri), NAME.fullmatch(where)
            if parts is None:
                raise ValueError("it is not the name of a version.")
            name, alias, version = parts.groups()
            found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
            files = client.get_model_version_download_uri(name, str(found.version))
            if elsewhere := led_elsewhere(repository_root(), uri, files):
                files = _own(where, *elsewhere)
            folder = Path(download_artifacts(artifact_uri=files, tracking_uri=uri, registry_uri=uri)) / INSIDE
    except (StoreError, OSError, ValueError) as error:
        reason = str(error.__cause__ if isinstance(error, StoreError) else error).splitlines()[0][:300]
        raise VersionError(
            f"{where} cannot be loaded from {uri}: {reason} Allowed are names such as "
            "models:/NAME@champion and models:/NAME/3. See what there is: meltpoint ui"
        ) from error
    if not folder.is_dir():
        raise VersionError(
            f"{where} holds no {INSIDE}: it was not registered by meltpoint, or its files are gone. "
            "Write them again from DVC's outputs: meltpoint sync"
        )
    return folder, found


def fetch_artifacts(version: "ModelVersion", path: str, uri: str | None = None) -> Path:
    """The folder at `path` among the artifacts of the run of a version; a copy only if the store is elsewhere.

    Raises:
        VersionError: it is gone.
    """
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    uri, where = uri or store_uri(repository_root()), f"{path} of version {version.version} of {version.name}"
    try:
        with ours(uri):
            run = MlflowClient(tracking_uri=uri, registry_uri=uri).get_run(str(version.run_id))
            files = f"{run.info.artifact_uri}/{path}"
            if elsewhere := led_elsewhere(repository_root(), uri, files):
                files = _own(where, *elsewhere)
            return Path(download_artifacts(artifact_uri=files, tracking_uri=uri, registry_uri=uri))
    except (StoreError, OSError, ValueError) as error:
        reason = str(error.__cause__ if isinstance(error, StoreError) else error).splitlines()[0][:300]
        raise VersionError(
            f"{where} cannot be loaded from {uri}: {reason} Write it again: remove the tag meltpoint.exports of the"
            " version, then dvc repro --force register"
        ) from error


def _own(where: str, place: str, own: Path) -> str:
    """The address of the files of a version in this repository, whose store names those of another one."""
    if not own.exists():
        raise VersionError(
            f"{where} is in {place} as MLflow's store says, and this repository was moved or copied from there without "
            f"it: there is no {own}. The files of another repository are not read. Write them from DVC's outputs: "
            "meltpoint doctor --repair"
        )
    complain(
        f"note: this repository was moved or copied from {place}, which MLflow's store still names. {where} is read "
        "from the files that are here. To write the store anew: meltpoint doctor --repair"
    )
    return own.as_uri()


def log_files(store: Store, state: PipelineState, strategy: str, run: str, model: str) -> str:
    """Package models/`strategy`, with its golden answers, as the files of the logged model `model`; its fingerprint."""
    with TemporaryDirectory() as temporary:
        package = Path(temporary) / "model"
        folder = state.folder / "models" / strategy
        views = open_views(views_of(read_card(folder), state.folder))
        first = io.BytesIO()
        Image.fromarray(views.plain[int(views.rows("test")[0])]).save(first, "PNG")
        with ours(store.uri):
            write_package(folder, base64.b64encode(first.getvalue()).decode(), model, run, package)
        write_golden_answers(folder, views, (package / INSIDE).with_name(CHECK))
        for empty in sorted((path for path in package.rglob("*") if path.is_dir()), reverse=True):
            if not any(empty.iterdir()):
                empty.rmdir()  # of a module that is gone; a manifest lists files only
        write_manifest(package)
        store.client.log_model_artifacts(model, str(package))
        return package_fingerprint(package)


def files_folder(store: Store, version: "ModelVersion") -> Path | None:
    """The folder of the files of a version; None if they are on a server."""
    address = _address(store, version)
    if "://" not in address:
        return Path(address)
    where = urlparse(address)
    return Path(url2pathname(where.path)) if where.scheme == "file" else None


def is_on_server(store: Store, version: "ModelVersion") -> bool:
    """Whether a server lists the files of a version."""
    from mlflow.artifacts import list_artifacts

    try:
        with ours(store.uri):
            return bool(list_artifacts(f"{_address(store, version)}/{INSIDE}", tracking_uri=store.uri))
    except (StoreError, OSError):
        return False


def _address(store: Store, version: "ModelVersion") -> str:
    """Where the files of a version are: as MLflow says it, and of a repository that was moved or copied in this one."""
    address = str(store.client.get_model_version_download_uri(store.name, version.version))
    elsewhere = led_elsewhere(store.root, store.uri, address)
    return elsewhere[1].as_uri() if elsewhere else address
