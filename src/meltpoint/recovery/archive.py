"""The library of all that was ever run and committed: each finished pipeline as a folder, each model by its digest."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from meltpoint.comparison import Comparison, read_comparison
from meltpoint.errors import UserError
from meltpoint.model.card import read_card
from meltpoint.params.read import Params, ParamsError, parse_params
from meltpoint.progress import track
from meltpoint.recovery.snapshots import Cache, Snapshot, SnapshotError, find_snapshots, lay
from meltpoint.registry.versions import fingerprint
from meltpoint.tracking.pipeline_state import IDLE, State, read_state, state_of

OTHER_CODE = (UserError, OSError, KeyError, ValueError, TypeError)  # what files of an older Meltpoint end in


@dataclass(frozen=True)
class Past:
    """A finished pipeline, laid out as the folder of its state."""

    snapshot: Snapshot
    state: State
    decision: Comparison
    keys: Mapping[str, str]  # strategy to the key of its card
    exact: bool  # False: its params.yaml is of other code, which may have counted another digest for the same state


@dataclass(frozen=True)
class Kept:
    """A model that is still there: the strategy of a finished pipeline."""

    past: Past
    strategy: str

    @property
    def folder(self) -> Path:
        """The model folder."""
        return self.past.state.folder / "models" / self.strategy


@dataclass
class Library:
    """All pasts, oldest first, and why some are missing."""

    pasts: list[Past] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)  # MD5 of DVC to our fingerprint

    def find(self, name: str, key: str) -> Kept | None:
        """The model of the registered model `name` with this fingerprint; rather from where it won."""
        found = [
            Kept(past, strategy)
            for past in self.pasts
            for strategy in past.keys
            if past.state.name == name and self._fingerprint(past, strategy) == key
        ]
        return min(found, key=lambda kept: kept.past.decision.winner != kept.strategy, default=None)

    def _fingerprint(self, past: Past, strategy: str) -> str:
        md5 = past.snapshot.outs[f"models/{strategy}"]
        if md5 not in self.digests:
            self.digests[md5] = fingerprint(past.state.folder / "models" / strategy)
        return self.digests[md5]


@contextmanager
def open_library(params: Params, root: Path) -> Iterator[Library]:
    """All that git and DVC's cache of the repository at `root` hold, while the context lasts.

    Raises:
        SnapshotError: `root` is no DVC repository.
    """
    cache, library = Cache.of(root), Library()
    with TemporaryDirectory(prefix="meltpoint-") as name:
        found = find_snapshots(root)
        for number, snapshot in enumerate(track(found, "reading the past", unit="state") if found else ()):
            folder = Path(name) / str(number)
            folder.mkdir()
            try:
                lay(snapshot, cache, folder)
                library.pasts.append(_read(snapshot, folder, params))
            except SnapshotError as error:
                library.troubles.append(str(error))
            except OTHER_CODE as error:
                library.troubles.append(_of_other_code(snapshot, folder, error))
        yield library


def _read(snapshot: Snapshot, folder: Path, params: Params) -> Past:
    found, exact = _state(snapshot, folder, params)
    state = replace(found, revision=snapshot.revision, when=snapshot.when)
    keys = {name: read_card(folder / "models" / name).key for name in state.strategies}
    return Past(snapshot, state, read_comparison(folder / "reports" / "compare.json"), keys, exact)


def _state(snapshot: Snapshot, folder: Path, params: Params) -> tuple[State, bool]:
    """The state of a snapshot, and whether this code reads its params.yaml.

    What params.yaml says of `register` is no part of a state, and may be older than the code.
    """
    name = snapshot.params["register"]["name"]
    today = params.model_dump(mode="json", by_alias=True)["register"]
    asked = {**snapshot.params, "register": {**today, "name": name}}
    try:
        return read_state(parse_params(asked, "params.yaml"), folder), True
    except ParamsError:
        kept = {key: value for key, value in snapshot.params.items() if key != "register"}
        kept["train"] = {key: value for key, value in kept["train"].items() if key not in IDLE}
        return state_of(name, kept, folder), False


def _of_other_code(snapshot: Snapshot, folder: Path, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0][:300].replace(f"{folder}/", "").rstrip(".")
    return (
        f"The state of {snapshot.revision[:12]} was written by other code than this and is not shown: "
        f"{type(error).__name__}: {reason}. To see it, run `meltpoint sync` in a checkout of that revision"
    )
