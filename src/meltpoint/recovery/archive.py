"""All that was run and committed: each finished pipeline as a folder, each model by its fingerprint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from meltpoint.comparison import Comparison, read_comparison
from meltpoint.errors import UserError
from meltpoint.model.card import read_card
from meltpoint.params.read import IDLE, ParamsError, parse_params
from meltpoint.progress import track
from meltpoint.recovery.snapshots import Cache, Snapshot, SnapshotError, find_snapshots, link_files
from meltpoint.registry.version_files import fingerprint
from meltpoint.tracking.pipeline_state import PipelineState, read_state

UNREADABLE = (UserError, OSError, KeyError, ValueError, TypeError)  # what reading files of an older Meltpoint raises


@dataclass(frozen=True)
class ArchivedPipeline:
    """A finished pipeline; its files are in the folder of its state."""

    snapshot: Snapshot
    state: PipelineState
    decision: Comparison
    keys: Mapping[str, str]  # strategy to the key of its card
    exact: bool  # False: its params.yaml is of other code, which may have computed another digest for the same state


@dataclass(frozen=True)
class ArchivedModel:
    """The model of a strategy of a finished pipeline."""

    pipeline: ArchivedPipeline
    strategy: str

    @property
    def folder(self) -> Path:
        """The model folder."""
        return self.pipeline.state.folder / "models" / self.strategy


@dataclass
class Archive:
    """All finished pipelines, oldest first, and why some are missing."""

    pipelines: list[ArchivedPipeline] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)  # MD5 of DVC to our fingerprint

    def find(self, name: str, key: str) -> ArchivedModel | None:
        """The model of the registered model `name` with this fingerprint; preferably from where it won."""
        found = self._find_all(name, key)
        return min(found, key=lambda model: model.pipeline.decision.winner != model.strategy, default=None)

    def find_exported(self, name: str, key: str) -> ArchivedModel | None:
        """The same from where it won and was exported, the last time."""
        found = [
            model
            for model in self._find_all(name, key)
            if model.pipeline.snapshot.exports and model.pipeline.decision.winner == model.strategy
        ]
        return found[-1] if found else None

    def _find_all(self, name: str, key: str) -> list[ArchivedModel]:
        found = []
        for pipeline in (one for one in self.pipelines if one.state.name == name):
            for model in (ArchivedModel(pipeline, strategy) for strategy in pipeline.keys):
                md5 = pipeline.snapshot.outs[f"models/{model.strategy}"]
                if md5 not in self.fingerprints:
                    self.fingerprints[md5] = fingerprint(model.folder)
                if self.fingerprints[md5] == key:
                    found.append(model)
        return found


@contextmanager
def open_archive(root: Path) -> Iterator[Archive]:
    """All that git and DVC's cache of the repository at `root` hold, while the context lasts.

    Raises:
        SnapshotError: `root` is no DVC repository.
    """
    cache, archive = Cache.of(root), Archive()
    with TemporaryDirectory(prefix="meltpoint-") as name:
        snapshots = find_snapshots(root)
        for number, snapshot in enumerate(track(snapshots, "reading git's history", unit="state") if snapshots else ()):
            folder = Path(name) / str(number)
            folder.mkdir()
            try:
                link_files(snapshot, cache, folder)
                found, exact = _state(snapshot, folder)
                state = replace(found, revision=snapshot.revision, when=snapshot.when)
                keys = {name: read_card(folder / "models" / name).key for name in state.strategies}
                decision = read_comparison(folder / "reports" / "compare.json")
                archive.pipelines.append(ArchivedPipeline(snapshot, state, decision, keys, exact))
            except SnapshotError as error:
                archive.problems.append(str(error))
            except UNREADABLE as error:
                reason = first_line(error).replace(f"{folder}/", "").rstrip(".")
                archive.problems.append(
                    f"The state of {snapshot.revision[:12]} was written by another version of the code and is skipped: "
                    f"{type(error).__name__}: {reason}. To show it, run `meltpoint sync` in a checkout of that revision"
                )
        yield archive


def first_line(error: Exception, most: int = 300) -> str:
    """The first line of the message of an error."""
    return (str(error).strip().splitlines() or [""])[0][:most]


def _state(snapshot: Snapshot, folder: Path) -> tuple[PipelineState, bool]:
    """The state of a snapshot, and whether this code reads its params.yaml.

    Of its section `register`, which may be older than the code, the name alone is part of a state.
    """
    name = snapshot.params["register"]["name"]
    register = {"name": name, "floors": {}, "ceilings": {}, "new_labels": False}
    try:
        params = parse_params({**snapshot.params, "register": register}, "params.yaml")
        return read_state(name, params.effective, folder), True
    except ParamsError:
        kept = {key: value for key, value in snapshot.params.items() if key != "register"}
        if "train" in kept:
            kept["train"] = {key: value for key, value in kept["train"].items() if key not in IDLE}
        return read_state(name, kept, folder), False
