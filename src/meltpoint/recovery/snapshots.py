"""Finished pipelines of today and of the past, as git and dvc.lock know them; each can be restored as a folder.

Nothing is copied: the folder holds links to DVC's cache, which is enough to read it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from meltpoint.errors import UserError
from meltpoint.params.yaml12 import QuickLoader, load
from meltpoint.tracking.pipeline_state import git, git_revision

LOCK, PARAMS = "dvc.lock", "params.yaml"
STAGES, OFFER = ("download", "split", "compare"), "offer"
LOOPS = {"views": ("augment",), "encoders": ("embed",), "strategies": ("train", "evaluate")}  # by section of rows
UNREAD = tuple(f"data/{name}" for name in ("raw", "contents.json", "splits", "samples.csv"))  # not shown
UNREAD_BELOW = ("data/features", "repeats/")  # of these neither: what they reach stands in the reports


class SnapshotError(UserError, RuntimeError):
    """DVC's cache lacks files that dvc.lock names."""


@dataclass(frozen=True)
class Snapshot:
    """A pipeline that was run to its decision: its params, and the MD5 of everything that it wrote.

    `exports` are the same of its exports and what was judged of them; none, where they are of another run.
    """

    revision: str  # the commit that holds it, `+` behind it in a working tree that differs
    when: int | None  # ms since 1970, of that commit; None for the working tree
    text: str  # of params.yaml
    params: Mapping[str, Any]
    outs: Mapping[str, str]  # path to MD5, which ends in `.dir` for a folder
    exports: Mapping[str, str] = field(default_factory=dict)


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

    Exports are there if the cache has all of them; `exports_are_linked` tells.

    Raises:
        SnapshotError: the cache lacks something else; the message says how to bring it.
    """
    if missing := _link(snapshot.outs, cache, folder):
        raise SnapshotError(
            f"DVC's cache lacks {len(missing):,} files of {snapshot.revision[:12]}, such as {missing[0]}. All that "
            f"{LOCK} names have to be there. Bring them: dvc pull --all-commits"
        )
    (folder / PARAMS).write_text(snapshot.text, encoding="utf-8")
    _link(snapshot.exports, cache, folder)


def exports_are_linked(snapshot: Snapshot, folder: Path) -> bool:
    """Whether `link_files` found all exports of a snapshot that has some."""
    return bool(snapshot.exports) and all((folder / path).exists() for path in snapshot.exports)


def _link(outs: Mapping[str, str], cache: "Cache", folder: Path) -> list[Path]:
    """Link contents to their places below `folder`; none of them if some are missing, which are returned."""
    wanted = [
        found
        for path, md5 in outs.items()
        if path not in UNREAD and not path.startswith(UNREAD_BELOW)
        for found in cache.files(Path(path), md5)
    ]
    if missing := [place for place, content in wanted if content is None or not content.exists()]:
        return missing
    for place, content in wanted:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).symlink_to(content or "")
    return []


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
    outs = _outs(stages)
    if not _belong(stages, params, outs):
        return None
    rows = [known.get(f"export@{row}") for row in params.get("export") or ()]
    exporting = [*rows, known.get(OFFER)] if rows else []
    if None in exporting or not _belong(exporting, params, outs | _outs(exporting)):
        return Snapshot(revision, when, text, params, outs)
    return Snapshot(revision, when, text, params, outs, _outs(exporting))


def _outs(stages: Sequence[Any]) -> dict[str, str]:
    """What stages wrote: path to MD5."""
    return {out["path"]: str(out.get("md5")) for stage in stages if stage for out in stage.get("outs", [])}


def _belong(stages: Sequence[Any], params: Mapping[str, Any], outs: Mapping[str, str]) -> bool:
    """Whether stages were run with these params, and read the files that the stages before them have written."""
    return all(
        all(_value(params, name) == value for name, value in stage.get("params", {}).get(PARAMS, {}).items())
        and all(outs.get(dep["path"], dep.get("md5")) == dep.get("md5") for dep in stage.get("deps", []))
        for stage in stages
    )


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
