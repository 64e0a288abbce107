"""What one training depends on: the part of params.yaml that it reads, and the key over that, the data and the code."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import meltpoint
from meltpoint.params.base import Section
from meltpoint.params.data import Augment, Images
from meltpoint.params.judging import Metric
from meltpoint.params.model import Backbone, Head, Task, Tree
from meltpoint.params.read import Params
from meltpoint.params.training import Strategy, Train

ROOMS = ("images", "model", "train")
MODULES = ("depths.py", "metrics.py", "tables.py", "tasks/*.py", "tasks/*/objective.py", "trees.py")
LIBRARIES = ("meltpoint", "torch", "timm")
# What changes no weight: how the work is done, what is calibrated afterwards, what only the card says.
NO_WEIGHTS: dict[str, Any] = {
    "machine": {"workers", "checkpoint_steps"},
    "heads": {"__all__": {"threshold", "unknown"}},
    "settings": {"repeats"},
    "tree": True,
    "max_megapixels": True,
}


class Recipe(Section):
    """One strategy of params.yaml with all that its training reads, and nothing else."""

    strategy: str  # its name
    settings: Strategy
    seed: int
    task: Task
    backbone: Backbone
    images: Images
    augment: Augment
    heads: dict[str, Head]
    tree: Tree | None
    metric: Metric
    max_megapixels: float
    machine: Train

    @property
    def main_head(self) -> str:
        """The head whose metric chooses the checkpoint."""
        return next(name for name, head in self.heads.items() if head.main)


def read_recipe(strategy: str, params: Params) -> Recipe:
    """The recipe of the strategy of that name: the only place where training reads params.yaml."""
    return Recipe(
        strategy=strategy,
        settings=params.strategies[strategy],
        seed=params.seed,
        task=params.task,
        backbone=params.backbone,
        images=params.images,
        augment=params.augment,
        heads=params.heads,
        tree=params.tree,
        metric=params.compare.metric,
        max_megapixels=params.data.max_megapixels,
        machine=params.train,
    )


def compute_key(recipe: Recipe, views: str, features: str) -> str:
    """Sha256 in hexadecimal over the recipe, the fingerprints of its data, our source and the libraries' versions.

    It names the checkpoint, so that only the same training continues from it.

    Args:
        recipe: of the training; what changes no weight is left out.
        views: fingerprint of the stored views.
        features: fingerprint of the features.
    """
    used = recipe.model_dump(mode="json", by_alias=True, exclude=NO_WEIGHTS)
    facts = [used, views, features, list_versions(), _hash_source(Path(meltpoint.__path__[0]))]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def list_versions() -> dict[str, str]:
    """The versions of the libraries that a result depends on most."""
    return {name: version(name) for name in LIBRARIES}


def _hash_source(package: Path) -> str:
    digest = hashlib.sha256()
    files = [file for module in MODULES for file in package.glob(module)]
    files += [file for room in ROOMS for file in (package / room).rglob("*.py")]
    for file in sorted(files):
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()
