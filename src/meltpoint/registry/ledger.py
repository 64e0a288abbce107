"""promotions.jsonl: a line for each change of an alias. MLflow remembers only where an alias points today."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from meltpoint.errors import UserError

LEDGER = "promotions.jsonl"


class LedgerError(UserError, ValueError):
    """The ledger holds a line that is none of its own."""


@dataclass(frozen=True)
class Change:
    """An alias that moved. `before` is None when it pointed nowhere, `after` when it points nowhere now."""

    model: str
    alias: str
    before: str | None  # version
    after: str | None  # version
    why: str
    metric: str
    value: float | None  # of the metric on the test split of that day
    data: str
    git: str
    key: str  # sha256 over the files of the model in `after`


def append(root: Path, change: Change) -> None:
    """Add a line for a change that has just happened."""
    row = asdict(change)
    moved = {"from": row.pop("before"), "to": change.after, "version": row.pop("after") or change.before}
    line = {"when": datetime.now(UTC).isoformat(timespec="seconds"), **moved, **row}
    text = json.dumps(line, ensure_ascii=False) + "\n"
    with FileLock(_lock_path(root)), (root / LEDGER).open("a+b") as file:
        if _unfinished(file.name):
            text = "\n" + text
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def read(root: Path) -> list[dict[str, Any]]:
    """All lines, oldest first; none if there is no ledger.

    Raises:
        LedgerError: a line is not a JSON object.
    """
    path = root / LEDGER
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_parse(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def holder(root: Path, model: str, alias: str) -> dict[str, Any] | None:
    """The last line of an alias: what it points to, and why."""
    lines = [line for line in read(root) if line.get("model") == model and line.get("alias") == alias]
    return lines[-1] if lines else None


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise LedgerError(
            f"Line {number} of {path} is not a JSON object: {line[:80]!r}. Each line is one, as `meltpoint` writes it. "
            f"Restore the file: git checkout -- {LEDGER}"
        )
    return row


def _unfinished(path: str) -> bool:
    """Whether a crash left a line without its end."""
    content = Path(path).read_bytes()
    return bool(content) and not content.endswith(b"\n")


def _lock_path(root: Path) -> str:
    (root / "mlruns").mkdir(exist_ok=True)
    return str(root / "mlruns" / ".ledger.lock")
