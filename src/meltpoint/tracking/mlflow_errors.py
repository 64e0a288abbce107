"""The border to MLflow: here alone its exceptions, and those of what it is built on, become ours.

StoreError
    MLflow, its database or its server refuses or fails.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, cast

from meltpoint.errors import UserError, about_disk

if TYPE_CHECKING:
    from mlflow import MlflowClient


class StoreError(UserError, RuntimeError):
    """MLflow's store cannot be reached or used, or refuses."""


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


@cache
def library_errors() -> tuple[type[Exception], ...]:
    """The exceptions that calls of MLflow may raise: its own, and those of its database and its connections."""
    keep_quiet()
    from mlflow.exceptions import MlflowException
    from mlflow.utils.process import ShellCommandException
    from mlflow.utils.server_info import ServerInfoRequestError
    from mlflow.utils.timeout import MlflowTimeoutError
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return (
        MlflowException, ServerInfoRequestError, ShellCommandException, MlflowTimeoutError, RequestException,
        SQLAlchemyError,
    )  # fmt: skip


@contextmanager
def ours(uri: str) -> Iterator[None]:
    """While the context lasts, what MLflow raises becomes a StoreError about the store at `uri`.

    Raises:
        StoreError: MLflow, its database or its server refuses or fails.
    """
    try:
        yield
    except library_errors() as error:
        raise StoreError(about_disk(error) or explain(uri, error)) from error


def guarded_client(client: "MlflowClient", uri: str) -> "MlflowClient":
    """The same client, each call of which raises StoreError where MLflow's own exception would come."""
    return cast("MlflowClient", _Guarded(client, uri))


class _Guarded:
    def __init__(self, client: "MlflowClient", uri: str) -> None:
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        @wraps(method)
        def call(*words: Any, **more: Any) -> Any:
            with ours(self._uri):
                return method(*words, **more)

        return call


def explain(uri: str, error: Exception) -> str:
    """What is wrong with the store, and how to repair it; without the password that its address may hold."""
    uri = re.sub(r"//[^/@]*@", "//", uri)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    if "database schema" in reason:
        return (
            f"The database of MLflow was made by another version of MLflow: {reason} "
            f"Allowed is the schema of the installed one. Copy the file, then run: .venv/bin/mlflow db upgrade {uri}"
        )
    if "malformed" in reason or "not a database" in reason:
        return (
            f"MLflow's database is damaged: {uri} gives {json.dumps(reason)}. Allowed is a whole database of MLflow. "
            "The one in mlruns/ is written anew from files by: meltpoint doctor --repair"
        )
    if refused := re.search(r"error code (401|403)\b|\b(401|403) Client Error", reason):
        return _explain_access(uri, "403" in refused[0])
    return (
        f"MLflow's store cannot be used: {uri} gives {json.dumps(reason)}. Allowed are a running server or a writable "
        "mlruns/ folder. Start the server, or unset MLFLOW_TRACKING_URI to use mlruns/."
    )


def _explain_access(uri: str, known: bool) -> str:
    """Why a server that asks for passwords refuses: the user is `known` and may not do this, or is not known."""
    name = os.environ.get("MLFLOW_TRACKING_USERNAME")
    user = f"user {json.dumps(name)}" if name else "a request without a user"
    if known:
        return (
            f"MLflow's server at {uri} knows {user}, who has no permission for this. To register takes the permission "
            "MANAGE on experiments and registered models, to read takes READ. Whoever administers the server can grant "
            "it, as docs/team.md shows."
        )
    return (
        f"MLflow's server at {uri} asks for a user and a password, and refuses {user}. Allowed are those that it "
        "knows. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    )
