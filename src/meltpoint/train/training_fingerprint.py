"""The fingerprint of all that one training depends on: its recipe, the data, our code and the libraries."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import meltpoint
from meltpoint.files import sha256_of
from meltpoint.params.recipe import Recipe

ROOMS = ("images", "model", "train")
MODULES = (
    "bit_depth.py",
    "metrics.py",
    "parts.py",
    "prefetch.py",
    "signatures.py",
    "tables.py",
    "tasks/*.py",
    "tasks/*/objective.py",
    "tasks/tagging/tag_thresholds.py",
    "trees.py",
)
LIBRARIES = ("meltpoint", "torch", "timm")
# What changes no weight: how the work is done, what is calibrated afterwards, what only the card says.
NO_WEIGHTS: dict[str, Any] = {
    "machine": {"workers", "checkpoint_steps", "restarts", "rendezvous"},
    "heads": {"__all__": {"threshold", "unknown", "tag_thresholds"}},
    "settings": {"repeats"},
    "task": {"tree"},
    "max_megapixels": True,
}


def fingerprint_training(recipe: Recipe, views: str, features: str) -> str:
    """Sha256 in hexadecimal over the recipe, the fingerprints of its data, our source and the libraries' versions.

    It names the checkpoint, so that only the same training continues from it.

    Args:
        recipe: of the training; what changes no weight is left out.
        views: fingerprint of the stored views.
        features: fingerprint of the features.
    """
    used = recipe.model_dump(mode="json", by_alias=True, exclude=NO_WEIGHTS)
    package, digest = Path(meltpoint.__path__[0]), hashlib.sha256()
    for file in source_files(package):
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode() + file.read_bytes())
    begun = [own.files for head in recipe.heads.values() if (own := getattr(head, "queries", None))]
    contents = [sha256_of(Path(file)) for files in begun for file in files if Path(file).is_file()]
    facts = [used, views, features, list_versions(), digest.hexdigest(), *contents]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def list_versions() -> dict[str, str]:
    """The versions of the libraries that a result depends on most."""
    return {name: version(name) for name in LIBRARIES}


def source_files(package: Path) -> list[Path]:
    """Our files that a training runs, and their neighbours: a test holds that none is missing."""
    rooms = [file for room in ROOMS for file in (package / room).rglob("*.py")]
    return sorted([*(file for module in MODULES for file in package.glob(module)), *rooms])
