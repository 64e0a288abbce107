"""A trained model in one line: `meltpoint.load("models:/NAME@champion")` or `meltpoint.load("models/frozen")`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meltpoint.tasks.answerer import Answerer


def load(where: str | Path) -> "Answerer":
    """Open the model that `where` names: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a model folder, or an export.

    Raises:
        VersionError: no such version, or its files are gone.
        ModelError: the folder holds no model that this version can read.
        ExportError: it holds an export that cannot be used.
        ManifestError: a file of the folder is not as it was saved.
    """
    from meltpoint.tasks.exported import open_any  # and what answers, which `find` does without

    return open_any(find(where))


def find(where: str | Path) -> Path:
    """The model folder that `where` names, as `load` takes it.

    Raises:
        VersionError: no such version, or its files are gone.
    """
    if str(where).startswith("models:"):
        from meltpoint.registry.version_files import fetch

        return fetch(str(where))
    return Path(where)
