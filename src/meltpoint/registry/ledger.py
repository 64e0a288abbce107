"""promotions.jsonl: a line for each change of an alias. MLflow remembers only where an alias points today."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from meltpoint.errors import UserError
from meltpoint.files import whole_file
from meltpoint.tracking.database import lock_path

LEDGER = "promotions.jsonl"
TRACES = ("dvc.lock", LEDGER, "reports/compare.json", "mlruns/mlflow.db")  # of a run that came to anything
CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
BEGIN = "Nothing has been run here yet. Begin with: make repro"

Row = dict[str, Any]  # a line as a JSON object
Line = TypeVar("Line")


class LedgerError(UserError, ValueError):
    """A line of a ledger cannot be read."""


@dataclass(frozen=True)
class VersionFacts:
    """What a version is, and what it scored when the gate was asked about it."""

    metric: str
    value: float | None  # of the metric on test; None: the gate was not asked about this version
    data: str
    git: str
    key: str  # sha256 over the files of its model, as `version_files.fingerprint` computes it
    strategy: str | None = None  # whose model that is
    trained: str | None = None  # the key of its card: what its training depended on
    anchor: str | None = None  # the version that is the best champion so far, as far as scoring it again told


def utc_now() -> str:
    """The time of now in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class AliasChange:
    """An alias that moved. `before` is None when it pointed nowhere, `after` when it points nowhere now."""

    model: str  # the registered one
    alias: str
    before: str | None  # version
    after: str | None  # version
    why: str
    facts: VersionFacts  # of the version in `after`
    aliases: Mapping[str, str] | None = None  # of the registered model after this change, alias to version
    act: str | None = None  # shared by the changes that were made together
    when: str = field(default_factory=utc_now)
    who: str | None = None  # the user that moved it; older ledgers do not say

    def as_row(self) -> Row:
        """The line of the ledger as a JSON object."""
        facts = asdict(self.facts)
        anchor = facts.pop("anchor")
        return {
            "when": self.when, "from": self.before, "to": self.after, "version": self.after or self.before,
            "model": self.model, "alias": self.alias, "why": self.why, **facts, "aliases": self.aliases,
            "act": self.act, "anchor": anchor, "who": self.who,
        }  # fmt: skip

    @classmethod
    def of_row(cls, row: Row) -> "AliasChange":
        """The change that a line describes; older versions wrote fewer fields.

        Raises:
            KeyError: it lacks what every version wrote.
        """
        first, later = ("metric", "value", "data", "git", "key"), ("strategy", "trained", "anchor")
        facts = VersionFacts(**{name: row[name] for name in first} | {name: row.get(name) for name in later})
        moved = (row["model"], row["alias"], row["from"], row["to"], row["why"])
        return cls(*moved, facts, row.get("aliases"), row.get("act"), row["when"], row.get("who"))


def append(root: Path, changes: Sequence[AliasChange]) -> None:
    """Add lines, all or none of them; one whose act has moved its alias already is not added again.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with FileLock(lock_path(root, "ledger")):
        known = {(change.act, change.alias) for change in read_ledger(root) if change.act}
        new = [change.as_row() for change in changes if (change.act, change.alias) not in known]
        if new:
            write_lines(root / LEDGER, new)


def read_ledger(root: Path) -> list[AliasChange]:
    """All changes, oldest first, wherever a merge of two ledgers put them; none without a ledger.

    Raises:
        LedgerError: a line is not a JSON object, or lacks something.
    """
    return sorted(read_lines(root / LEDGER, AliasChange.of_row), key=lambda change: change.when)


def read_lines(path: Path, build: Callable[[Row], Line]) -> list[Line]:
    """What `build` makes of each line of a file of JSON objects; nothing without the file.

    Raises:
        LedgerError: a line is not a JSON object, or `build` raises KeyError, as it lacks something.
    """
    found = []
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for number, line in enumerate(text.split("\n"), start=1):  # a text in it may hold other ends of lines
        if not line.strip():
            continue
        try:
            found.append(build(json.loads(line)))
        except (KeyError, ValueError, TypeError) as error:
            why = f"lacks {error}" if isinstance(error, KeyError) else f"is not a JSON object: {line[:80]!r}"
            remedy = f"Restore the file: git checkout -- {path.name}"
            if line.startswith(CONFLICT):
                why, remedy = "is a mark of a conflict in git", f"Delete the lines that begin with {CONFLICT}, no other"
            elif text.endswith(line):
                why += ", and the file ends in it"
                remedy = "Delete this line. What it was about may be in the MLflow store, then: meltpoint adopt"
            raise LedgerError(
                f"Line {number} of {path} {why}. Each line is a JSON object, as `meltpoint` writes it. {remedy}"
            ) from None
    return found


def write_lines(path: Path, rows: Sequence[Row]) -> None:
    """Add lines to a file, whole or not at all; what is written stays as it is."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    text += "\n" if text and not text.endswith("\n") else ""
    with whole_file(path) as temporary:
        added = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        temporary.write_text(text + added, encoding="utf-8")


def models_of(root: Path) -> list[str]:
    """The registered models that the ledger names."""
    return list(dict.fromkeys(change.model for change in read_ledger(root)))


def changes_of(root: Path, model: str, alias: str | None = None) -> list[AliasChange]:
    """The changes of one alias of a registered model, or of all, oldest first."""
    return [change for change in read_ledger(root) if change.model == model and alias in (None, change.alias)]


def latest_change(root: Path, model: str, alias: str) -> AliasChange | None:
    """The last change of an alias: what it points to, and why."""
    return next(reversed(changes_of(root, model, alias)), None)


def is_fresh(root: Path) -> bool:
    """Whether no run has left a trace in the working tree of the repository at `root`, as after `git clone`."""
    return not any((root / name).exists() for name in TRACES)


def place(version: str | None) -> str:
    """Where an alias points, in words."""
    return "nowhere" if version is None else f"version {version}"
