"""What is on record about a registered version: why it was promoted, and what it said of its test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.registry.ledger import changes_of
from meltpoint.registry.version_files import fetch_version
from meltpoint.registry.versions import CHAMPION
from meltpoint.tracking.database import led_elsewhere, store_uri
from meltpoint.tracking.mlflow_errors import StoreError, ours
from meltpoint.tracking.store import repository_root

PREDICTIONS = "predictions.parquet"  # among the artifacts of a strategy's run


@dataclass(frozen=True)
class Evidence:
    """Of the version `version` of the registered model `name`: its folder, and what was written down of it.

    `decision`: Markdown, with a table of the strategies. `tags`: among others what the gate said, and how many models
    had been judged on its test images. `changes`: of the alias champion, oldest first. `predictions`: the table of its
    run; None: it cannot be had.
    """

    folder: Path
    name: str
    version: str
    decision: str
    tags: Mapping[str, str]
    changes: list[dict[str, Any]]
    predictions: Path | None


def read_evidence(where: str) -> Evidence:
    """The evidence of `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        VersionError: no such version, or its files are gone.
        LedgerError: a line of the ledger is none.
    """
    folder, found = fetch_version(where)
    root = repository_root()
    changes = [
        {"when": change.when, "from": change.before, "to": change.after, "why": change.why,
         "metric": change.facts.metric, "value": change.facts.value}
        for change in changes_of(root, found.name, CHAMPION)
    ]  # fmt: skip
    shown = {name: text for name, text in found.tags.items() if not name.startswith("meltpoint.")}
    about = found.description or ""
    return Evidence(folder, found.name, str(found.version), about, shown, changes, _predictions(found.run_id))


def _predictions(run: str | None) -> Path | None:
    """The table of predictions of a run, a copy only if its files are elsewhere."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    root = repository_root()
    uri = store_uri(root)
    try:
        with ours(uri):
            address = f"{MlflowClient(tracking_uri=uri).get_run(str(run)).info.artifact_uri}/{PREDICTIONS}"
            elsewhere = led_elsewhere(root, uri, address)
            address = elsewhere[1].as_uri() if elsewhere else address
            return Path(download_artifacts(artifact_uri=address, tracking_uri=uri))
    except (StoreError, OSError):
        return None
