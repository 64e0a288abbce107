"""How worn a test set is: how many models have been judged on it, and how much the best of them flatters itself.

A test set is told by a sketch: the smallest of its images' hashes. Two sets that share most images share most of these
(Broder, On the Resemblance and Containment of Documents, 1997), so a count goes on when a few images come and go.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from meltpoint.compare.formatting import METRICS, counted, flattery
from meltpoint.files import whole_file
from meltpoint.registry.ledger import LedgerError, read_lines

JUDGED = "judged.jsonl"  # a line for each comparison: the test set, and the models that were judged on it
SKETCH = 32  # hashes of a sketch
DIGITS = 8  # of a hash
NAMED = 12  # characters of the fingerprint that names a judged model
SAME = 0.5  # of a sketch shared, from which on two test sets count as the same


@dataclass(frozen=True)
class Wear:
    """So many models were judged on a test set of so many images, by a metric; `spread` as in `optimism`."""

    models: int
    images: int
    metric: str
    spread: float | None

    def __str__(self) -> str:
        """The count, what it does to the best score, and what to do."""
        told = f"{counted(self.models, 'model')} judged on this test set of {counted(self.images, 'image')}"
        if self.models < 2 or not self.spread:
            return told
        much = flattery(self.metric, self.models, self.spread)
        return (
            f"{told}: of as many equally good models the best would score about {much} {METRICS[self.metric]} too well "
            "here; label fresh images, of which a share falls to test by itself"
        )


def sketch(hashes: Iterable[str]) -> list[str]:
    """The sketch of a test set, from the sha256 of its images."""
    return sorted({one[:DIGITS] for one in hashes})[:SKETCH]


def is_same(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two test sets share about half of their images or more."""
    both = sorted({*first, *second})[: max(len(first), len(second))]
    return bool(both) and len({*both} & {*first} & {*second}) >= SAME * len(both)


def judged_on(test: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> set[str]:
    """The models that lines of the ledger tell to be judged on a test set, by their short fingerprints."""
    return {model for line in lines if is_same(test, line.get("test") or []) for model in line.get("judged") or []}


def write_judged(root: Path, line: Mapping[str, Any]) -> None:
    """Add a line to `JUDGED`, if it names a model that none before named for this test set.

    Raises:
        LedgerError: the file cannot be read.
    """
    (root / "mlruns").mkdir(exist_ok=True)
    with FileLock(str(root / "mlruns" / ".ledger.lock")):
        known = read_lines(root / JUDGED)
        own = [one for one in known if one.get("model") == line["model"]]
        if set(line["judged"]) <= judged_on(line["test"], own):
            return
        with whole_file(root / JUDGED) as temporary:
            told = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in [*known, line])
            temporary.write_text(told, encoding="utf-8")


def wear_of(root: Path, model: str, key: str = "") -> Wear | None:
    """How worn the latest test set of a registered model is; None if nobody was judged.

    With `key`, the fingerprint of a model folder: how worn it was when that one was judged on it last.

    Raises:
        LedgerError: the file cannot be read.
    """
    lines = [line for line in read_lines(root / JUDGED) if line.get("model") == model]
    naming = [number for number, line in enumerate(lines) if not key or key[:NAMED] in (line.get("judged") or [])]
    if not naming:
        return None
    lines = lines[: naming[-1] + 1]
    last = lines[-1]
    if missing := [name for name in ("images", "metric", "spread", "test") if name not in last]:
        raise LedgerError(f"The last line of {root / JUDGED} lacks {missing}. Restore the file with git.")
    return Wear(len(judged_on(last["test"], lines)), last["images"], last["metric"], last["spread"])
