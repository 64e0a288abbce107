"""The fingerprint of all a training depends on: it names the checkpoint, so that only the same training continues."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import meltpoint
from meltpoint.params.read import Params

ROOMS = ("images", "model", "task", "train")
FREE = {"workers", "checkpoint_steps"}  # of `train`: they change no result
OF_CARD = {"threshold", "unknown"}  # of a head: they change what is learnt of the trained model, and no weight
OF_OTHERS = {"repeats"}  # of a strategy: it says how many more are trained, and changes nothing of this one
MODULES = ("depths.py", "metrics.py", "tables.py", "trees.py")
LIBRARIES = ("meltpoint", "torch", "timm")


def compute_key(strategy: str, params: Params, views: str, features: str) -> str:
    """Sha256 in hexadecimal over data fingerprints, params, our source and library versions.

    Args:
        strategy: its name in params.yaml.
        params: all of them; those that training does not read are left out.
        views: fingerprint of the stored views.
        features: fingerprint of the cached features.
    """
    values = params.model_dump(mode="json", by_alias=True)
    used = {name: values[name] for name in ("seed", "images", "augment", "task", "backbone")}
    used["heads"] = {head: _without(own, OF_CARD) for head, own in values["heads"].items()}
    used["train"] = _without(values["train"], FREE)
    used["strategy"] = _without(values["strategies"][strategy], OF_OTHERS)
    used["metric"] = values["compare"]["metric"]
    facts = [strategy, used, views, features, list_versions(), _hash_source(Path(meltpoint.__path__[0]))]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def list_versions() -> dict[str, str]:
    """The versions of the libraries that a result depends on most."""
    return {name: version(name) for name in LIBRARIES}


def _without(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _hash_source(package: Path) -> str:
    digest = hashlib.sha256()
    files = [package / module for module in MODULES] + [
        file for room in ROOMS for file in (package / room).rglob("*.py")
    ]
    for file in sorted(files):
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()
