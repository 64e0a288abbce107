"""The fingerprint of all a training depends on: it names the checkpoint, so that only the same training continues."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import meltpoint
from meltpoint.params.read import Params

ROOMS = ("images", "model", "task", "train")
FREE = {"workers", "checkpoint_steps"}  # of `train`: they change no result
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
    used = {name: values[name] for name in ("seed", "images", "augment", "task", "backbone", "heads")}
    used["train"] = {name: value for name, value in values["train"].items() if name not in FREE}
    used["strategy"], used["metric"] = values["strategies"][strategy], values["compare"]["metric"]
    facts = [strategy, used, views, features, list_versions(), _hash_source(Path(meltpoint.__path__[0]))]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def list_versions() -> dict[str, str]:
    """The versions of the libraries that a result depends on most."""
    return {name: version(name) for name in LIBRARIES}


def _hash_source(package: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(file for room in ROOMS for file in (package / room).rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()
