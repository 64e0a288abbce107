"""Which state of the pipeline a run shows: what params.yaml and the data say, named by one digest."""

import getpass
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.images.views import FACTS
from meltpoint.tables import SPLITS

VIEWS = Path("data/views")
ROWS = ("strategies", "encoders", "views")  # sections of which a strategy has one row each


class StateError(UserError, RuntimeError):
    """What a stage before has to write is not there."""


@dataclass(frozen=True)
class PipelineState:
    """A pipeline at one moment. `folder` is where its files are; what stands in it is never written."""

    folder: Path
    name: str  # of the registered model
    params: Mapping[str, Any]  # those that can change a result
    data: str  # fingerprint of images, labels and splits
    images: int
    splits: Mapping[str, int]  # images in each
    revision: str | None = None  # the commit that it was read from; None: what git says of `folder`
    when: int | None = None  # ms since 1970, of that commit; None: it is today's

    @property
    def digest(self) -> str:
        """The sha256 over everything that can change a result."""
        text = json.dumps([self.name, self.params, self.data], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def strategies(self) -> list[str]:
        """The names of its strategies."""
        return list(self.params["strategies"])

    @property
    def shared(self) -> dict[str, str]:
        """The flat parameters that all strategies share."""
        return flatten({key: value for key, value in self.params.items() if key not in ROWS})

    @property
    def rows(self) -> dict[str, str]:
        """The flat parameters of all strategies, encoders and views."""
        return flatten({key: self.params[key] for key in ROWS if key in self.params})

    def own(self, strategy: str) -> dict[str, str]:
        """The flat parameters of one strategy, under names that all strategies share, so that they compare."""
        row = self.params["strategies"][strategy]
        own = {"strategy": {"name": strategy, **row}}
        if "encoders" not in self.params:
            return flatten(own)
        encoder = self.params["encoders"][row["encoder"]]
        views = self.params["views"][encoder["views"]]
        return flatten(
            {**own, "encoder": {"row": row["encoder"], **encoder}, "views": {"row": encoder["views"], **views}}
        )

    def encoder(self, strategy: str) -> tuple[str, int]:
        """The name of a strategy's backbone and the side of its images; in older states all have the same."""
        if "encoders" not in self.params:
            return self.params["backbone"]["name"], self.params["images"]["side"]
        encoder = self.params["encoders"][self.params["strategies"][strategy]["encoder"]]
        return encoder["name"], self.params["views"][encoder["views"]]["side"]


def read_state(name: str, params: Mapping[str, Any], folder: Path = Path()) -> PipelineState:
    """The state of the pipeline in `folder`, which registers the model `name`; `params` are those that change results.

    Raises:
        StateError: the augment stage has not run.
    """
    try:
        # All stores know the same images, and one may be missing; in older states there is one, without a name.
        stores = [folder / VIEWS / row for row in params.get("views", [""])]
        store = next((store for store in stores if (store / FACTS).exists()), stores[0])
        facts = read_json(store / FACTS)
        found = pd.read_csv(store / "samples.csv", usecols=["split"], dtype="string")["split"].value_counts()
    except FileNotFoundError as error:
        raise StateError(
            f"There is no {error.filename}, which says what the images are. The stage augment writes it. Run: dvc repro"
        ) from None
    fingerprint = str(facts.get("data", facts["fingerprint"]))
    splits = {split: int(found.get(split, 0)) for split in SPLITS}
    return PipelineState(folder, name, params, fingerprint, sum(splits.values()), splits)


def flatten(value: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested mappings as one level of dotted names; lists and numbers as JSON."""
    return dict(_leaves(value, above))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield allowed_name(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def allowed_name(name: str) -> str:
    """A name MLflow accepts for a parameter or metric: 250 letters, digits and `_-. /` at most; no path that climbs."""
    parts = re.sub(r"[^\w\-. /]", "_", name).split("/")
    return "/".join("_" * max(1, len(part)) if part in ("", ".", "..") else part for part in parts)[:250]


def git_revision(folder: Path) -> str:
    """The commit of the repository, with `+` when files differ from it; `none` where there is no commit."""
    commit = git(folder, "rev-parse", "HEAD").strip()
    if not commit:
        return "none"
    changed = git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", *_WRITTEN_BY_RUNS)
    return commit + ("+" if changed.strip() else "")


_WRITTEN_BY_RUNS = (":!dvc.lock", ":!promotions.jsonl")  # they differ after every run, and change no result


def user_name(folder: Path) -> str:
    """The name of the user: git's in `folder`, else that of the environment."""
    try:
        return git(folder, "config", "user.name").strip() or getpass.getuser()
    except (KeyError, OSError):  # a container may have none
        return "unknown"


def git(folder: Path, *words: str) -> str:
    """What git prints in `folder`; nothing where it fails, as without a repository or a commit."""
    try:
        asked = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout if asked.returncode == 0 else ""
