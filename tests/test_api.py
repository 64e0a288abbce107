"""`load` opens a folder or a registered version, and nothing else."""

from pathlib import Path

import pytest

from meltpoint.api import load
from meltpoint.model.card import ModelError
from meltpoint.registry import version_files
from meltpoint.tasks import exported


def test_a_name_of_the_registry_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(version_files, "fetch", lambda where: asked.append(where) or tmp_path)
    monkeypatch.setattr(exported, "open_any", lambda folder: asked.append(folder))
    load("models:/shapes@champion")
    load("models/frozen")
    assert asked == ["models:/shapes@champion", tmp_path, Path("models/frozen")]


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        load(tmp_path)
