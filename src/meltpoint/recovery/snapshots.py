"""Finished pipelines of today and of the past, as git and dvc.lock know them; each can be restored as a folder.

Nothing is copied: the folder holds links to DVC's cache, which is enough to read it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meltpoint.errors import UserError
from meltpoint.params.yaml12 import QuickLoader, load
from meltpoint.tracking.pipeline_state import git, git_revision

LOCK, PARAMS = "dvc.lock", "params.yaml"
STAGES = ("download", "split", "compare")
LOOPS = {"views": ("augment",), "encoders": ("embed",), "strategies": ("train", "evaluate")}  # by section of rows
UNREAD = tuple(f"data/{name}" for name in ("raw", "contents.json", "splits", "samples.csv"))  # not shown
UNREAD_BELOW = ("data/features", "repeats/")  # of these neither: what they reach stands in the reports


class SnapshotError(UserError, RuntimeError):
    """DVC's cache lacks files that dvc.lock names."""


@dataclass(frozen=True)
class Snapshot:
    """A pipeline that was run to its decision: its params, and the MD5 of everything that it wrote."""

    revision: str  # the commit that holds it, `+` behind it in a working tree that differs
    when: int | None  # ms since 1970, of that commit; None for the working tree
    text: str  # of params.yaml
    params: Mapping[str, Any]
    outs: Mapping[str, str]  # path to MD5, which ends in `.dir` for a folder


def find_snapshots(root: Path) -> list[Snapshot]:
    """Every finished pipeline, oldest first, the working tree's last. A commit between two of them is none."""
    found = []
    log = git(root, "log", "--all", "--reverse", "--date-order", "--format=%H %ct", "--", LOCK, PARAMS)
    for line in log.splitlines():
        revision, seconds = line.split()
        texts = [git(root, "show", f"{revision}:./{name}") for name in (PARAMS, LOCK)]
        found.append(_read(revision, int(seconds) * 1000, *texts))
    texts = [path.read_text(encoding="utf-8") if (path := root / name).exists() else "" for name in (PARAMS, LOCK)]
    found.append(_read(git_revision(root), None, *texts))
    return list(
        {(one.text, *sorted(one.outs.items())): one for one in found if one}.values()
    )  # of equal ones the newest


def link_files(snapshot: Snapshot, cache: "Cache", folder: Path) -> None:
    """Fill `folder` with params.yaml and links to what the pipeline wrote, as far as anything shows it.

    Raises:
        SnapshotError: the cache lacks something; the message says how to bring it.
    """
    missing = []
    for path, md5 in snapshot.outs.items():
        if path in UNREAD or path.startswith(UNREAD_BELOW):
            continue
        for place, content in cache.files(Path(path), md5):
            if content is None or not content.exists():
                missing.append(place)
                continue
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).symlink_to(content)
    if missing:
        raise SnapshotError(
            f"DVC's cache lacks {len(missing):,} files of {snapshot.revision[:12]}, such as {missing[0]}. All that "
            f"{LOCK} names have to be there. Bring them: dvc pull --all-commits"
        )
    (folder / PARAMS).write_text(snapshot.text, encoding="utf-8")


@dataclass(frozen=True)
class Cache:
    """Where DVC keeps contents by their MD5."""

    folder: Path

    @classmethod
    def of(cls, root: Path) -> "Cache":
        """The cache of the repository at `root`, wherever its configuration puts that.

        Raises:
            SnapshotError: `root` is no DVC repository, or none of git.
        """
        from dvc.exceptions import NotDvcRepoError
        from dvc.repo import Repo
        from dvc.scm import SCMError

        try:
            with Repo(str(root)) as repository:
                return cls(Path(repository.cache.local.path))
        except NotDvcRepoError:
            raise SnapshotError(
                f"{root} is not a DVC repository: there is no .dvc in it. Runs are read from DVC's outputs. "
                "Go to the folder that holds dvc.yaml, or make one: dvc init"
            ) from None
        except SCMError as error:
            raise SnapshotError(
                f"DVC cannot read {root}: {error}. Make it one: git init. Or let DVC do without: "
                "dvc config core.no_scm true"
            ) from None

    def files(self, path: Path, md5: str) -> Iterator[tuple[Path, Path | None]]:
        """The files of an output and their contents; the output itself and None where its list is not there."""
        if not md5.endswith(".dir"):
            yield path, self._place(md5)
            return
        listing = self._place(md5)
        if not listing.exists():
            yield path, None
            return
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            yield path / entry["relpath"], self._place(entry["md5"])

    def _place(self, md5: str) -> Path:
        return self.folder / md5[:2] / md5[2:]


def _read(revision: str, when: int | None, text: str, lock: str) -> Snapshot | None:
    """What the two files say, or None if they do not belong together: a change was committed before it was run."""
    params, known = _parse(text), _parse(lock).get("stages", {})
    looped = [  # once for each row; once there were one size and one backbone, whose stages had no rows
        f"{stage}@{row}" if section in params else stage
        for section, stages in LOOPS.items()
        for stage in stages
        for row in params.get(section) or [""]
    ]
    names = [*STAGES, *looped]
    if not params.get("strategies") or not isinstance(known, dict) or any(name not in known for name in names):
        return None
    stages = [known[name] for name in names]
    outs = {out["path"]: str(out.get("md5")) for stage in stages for out in stage.get("outs", [])}
    for stage in stages:
        if any(_value(params, name) != value for name, value in stage.get("params", {}).get(PARAMS, {}).items()):
            return None  # it was run with other params
        if any(outs.get(dep["path"], dep.get("md5")) != dep.get("md5") for dep in stage.get("deps", [])):
            return None  # it read other files than the stages before it have written
    return Snapshot(revision, when, text, params, outs)


def _parse(text: str) -> dict[str, Any]:
    try:
        found = load(text, QuickLoader)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _value(params: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name."""
    value: Any = params
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
