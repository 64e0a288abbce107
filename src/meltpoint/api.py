"""A trained model in one line: `meltpoint.load("models:/NAME@champion")` or `meltpoint.load("models/frozen")`."""

from pathlib import Path

from meltpoint.predict.predictor import Predictor, open_predictor


def load(where: str | Path) -> Predictor:
    """Open the model that `where` names: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or a model folder.

    Raises:
        VersionError: no such version, or its files are gone.
        ModelError: the folder holds no model that this version can read.
    """
    if str(where).startswith("models:"):
        from meltpoint.registry.versions import fetch

        return open_predictor(fetch(str(where)))
    return open_predictor(Path(where))
