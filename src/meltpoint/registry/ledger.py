"""promotions.jsonl: a line for each change of an alias. MLflow remembers only where an alias points today."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from meltpoint.errors import UserError
from meltpoint.files import whole_file

LEDGER = "promotions.jsonl"
Line = dict[str, Any]
LATER: Line = {
    "strategy": None,
    "trained": None,
    "aliases": None,
    "act": None,
    "anchor": None,
}  # what the first ledgers did not say


TRACES = ("dvc.lock", LEDGER, "reports/compare.json", "mlruns/mlflow.db")  # of a run that came to anything
BEGIN = "Nothing has been run here yet. Begin with: make repro"


class LedgerError(UserError, ValueError):
    """The ledger holds a line that is none of its own."""


@dataclass(frozen=True)
class Change:
    """An alias that moved. `before` is None when it pointed nowhere, `after` when it points nowhere now."""

    model: str  # the registered one
    alias: str
    before: str | None  # version
    after: str | None  # version
    why: str
    metric: str
    value: float | None  # of the metric on test when the gate asked; None: it was not asked about this version
    data: str
    git: str
    key: str  # sha256 over the files of the model in `after`, as `versions.fingerprint` counts it
    strategy: str | None  # whose model that is
    trained: str | None  # the key of its card: what its training depended on
    aliases: Mapping[str, str]  # of the registered model after this change, alias to version
    act: str  # shared by the changes that were made together
    anchor: str | None = None  # the version that is the best champion so far, as far as scoring it again told


def line_of(change: Change) -> Line:
    """The line of a change that happens now."""
    row = asdict(change)
    moved = {"from": row.pop("before"), "to": change.after, "version": row.pop("after") or change.before}
    return {"when": datetime.now(UTC).isoformat(timespec="seconds"), **moved, **row}


def append(root: Path, lines: Sequence[Line]) -> None:
    """Add lines, all or none of them; one whose act has moved its alias already is not added again.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    (root / "mlruns").mkdir(exist_ok=True)
    with FileLock(str(root / "mlruns" / ".ledger.lock")):
        known = {(line["act"], line.get("alias")) for line in read(root) if line["act"]}
        new = [line for line in lines if (line["act"], line["alias"]) not in known]
        if not new:
            return
        path = root / LEDGER
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        text += "\n" if text and not text.endswith("\n") else ""
        with whole_file(path) as temporary:
            added = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in new)
            temporary.write_text(text + added, encoding="utf-8")


def read(root: Path) -> list[Line]:
    """All lines, oldest first, those of an older version with None for what it did not say; none without a ledger.

    Raises:
        LedgerError: a line is not a JSON object.
    """
    return [{**LATER, **line} for line in read_lines(root / LEDGER)]


def read_lines(path: Path) -> list[Line]:
    """The JSON objects of a file of lines; none without the file.

    Raises:
        LedgerError: a line is none.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_parse(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def lines_of(root: Path, model: str, alias: str) -> list[Line]:
    """The lines of one alias, oldest first."""
    return [line for line in read(root) if line.get("model") == model and line.get("alias") == alias]


def holder(root: Path, model: str, alias: str) -> Line | None:
    """The last line of an alias: what it points to, and why."""
    return next(reversed(lines_of(root, model, alias)), None)


def is_fresh(root: Path) -> bool:
    """Whether no run has left a trace in the working tree of the repository at `root`, as after `git clone`."""
    return not any((root / name).exists() for name in TRACES)


def _parse(path: Path, number: int, line: str) -> Line:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise LedgerError(
            f"Line {number} of {path} is not a JSON object: {line[:80]!r}. Each line is one, as `meltpoint` writes it. "
            f"Restore the file: git checkout -- {path.name}"
        )
    return row
