"""What answering needs of the locks: pins and hashes of a few packages and of all that these need."""

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from meltpoint.errors import UserError

LOCKS = ("requirements.lock", "requirements-dev.lock")  # the second holds the extras
START = re.compile(r"^([A-Za-z0-9._-]+)(\[[^]]*\])?==")  # the second part: with extras, which pip would want, too


class LockError(UserError, RuntimeError):
    """A package cannot be taken from the locks."""


def take(names: Iterable[str], without: Sequence[str], folder: Path) -> str:
    """The lines of the locks in `folder` about packages and all that these need, but for what begins as `without` says.

    What a package needs is read from what is installed here.

    Raises:
        LockError: there is no lock, a package is not in it, or is not installed.
    """
    blocks: dict[str, list[str]] = {}
    for lock in reversed(LOCKS):
        blocks |= _read(folder / lock)
    wanted = sorted(name for name in _closure(names) if not name.startswith(tuple(without)))
    if missing := [name for name in wanted if name not in blocks]:
        raise LockError(
            f"{', '.join(missing)} cannot be found in {' and '.join(LOCKS)} of {folder.absolute()}. These name every"
            " package with its hashes. Run the command in the repository, and restore them: git checkout -- '*.lock'"
        )
    return "".join("".join(blocks[name]) for name in wanted)


def _read(path: Path) -> dict[str, list[str]]:
    """By package the lines of a lock, without its remarks and without extras; nothing without the file."""
    blocks: dict[str, list[str]] = {}
    own: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []:
        if found := START.match(line):
            line = line.replace(found[2] or "", "", 1)
            all_of_it = blocks.setdefault(_normal(found[1]), [])
            own = [] if line in all_of_it else all_of_it
        if not line.lstrip().startswith("#"):
            own.append(line)
    return blocks


def _closure(names: Iterable[str]) -> set[str]:
    """Packages and what they need on this machine."""
    found: set[str] = set()
    waiting = [(name, "") for name in names]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found.add(_normal(name))
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            raise LockError(
                f"The package {name} is not installed here, so that what it needs is not known. Install the extra that"
                " the export asks for, and pack again."
            ) from None
        for one in needed:
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                waiting += [(one.name, ""), *((one.name, asked) for asked in one.extras)]
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
