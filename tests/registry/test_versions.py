"""A version is fetched as a folder, or the reason is told."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from meltpoint.registry.version_files import VersionError, fetch, fingerprint
from meltpoint.tracking.store import open_store


def test_what_is_fetched_is_what_was_trained(house: Any) -> None:
    house.register()
    for where in ("models:/shapes@champion", "models:/shapes/1"):
        assert fingerprint(fetch(where)) == fingerprint(house.folder / "models" / "frozen")
    assert "MLFLOW_TRACKING_URI" not in os.environ, "no trace of the store in the environment"


@pytest.mark.parametrize(
    "where", ["models:/shapes@champion", "models:/shapes/7", "models:/shapes", "models:/", "models:/a b@c/d"]
)
def test_what_is_not_there_is_told(house: Any, where: str) -> None:
    open_store("shapes")
    with pytest.raises(VersionError, match="cannot be loaded.*Allowed are names such as models:/NAME@champion"):
        fetch(where)


def test_files_that_are_gone_are_told(house: Any) -> None:
    house.register()
    for folder in (house.folder / "mlruns" / "artifacts" / "models").iterdir():
        shutil.rmtree(folder / "artifacts" / "artifacts")
    with pytest.raises(VersionError, match="its files are gone"):
        fetch("models:/shapes@champion")


def test_a_version_that_a_crash_kept_from_being_made_uses_what_was_logged(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    real = MlflowClient.create_model_version

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "create_model_version", crash)
    with pytest.raises(KeyboardInterrupt):
        house.register()
    monkeypatch.setattr(MlflowClient, "create_model_version", real)
    assert house.register().version == "1"
    assert len(list(Path("mlruns/artifacts/models").iterdir())) == 1
