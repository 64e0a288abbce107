"""How often a test set was used: how many models were judged on it, and how much too well the best of them scores.

A test set is told by a sketch: the smallest of its images' hashes. Two sets that share most images share most of these
(Broder, On the Resemblance and Containment of Documents, 1997), so a count goes on when a few images come and go.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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
class Judged:
    """A line of `JUDGED`: a comparison."""

    when: str
    model: str  # the registered one
    images: int  # of test
    metric: str
    spread: float | None  # how far scores differ between models by chance
    judged: Sequence[str]  # the models, by their short fingerprints
    test: Sequence[str]  # the sketch of the test set


@dataclass(frozen=True)
class HoldoutReuse:
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


def judged_on(test: Sequence[str], lines: Iterable[Judged]) -> set[str]:
    """The models that lines of the ledger tell to be judged on a test set, by their short fingerprints."""
    return {model for line in lines if is_same(test, line.test) for model in line.judged}


def write_judged(root: Path, line: Judged) -> None:
    """Add a line to `JUDGED`, if it names a model that none before named for this test set.

    Raises:
        LedgerError: the file cannot be read.
    """
    (root / "mlruns").mkdir(exist_ok=True)
    with FileLock(str(root / "mlruns" / ".ledger.lock")):
        known = _read(root)
        if set(line.judged) <= judged_on(line.test, [one for one in known if one.model == line.model]):
            return
        with whole_file(root / JUDGED) as temporary:
            told = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in [*known, line])
            temporary.write_text(told, encoding="utf-8")


def reuse_of(root: Path, model: str, key: str = "") -> HoldoutReuse | None:
    """How often the latest test set of a registered model was used; None if no model was judged.

    With `key`, the fingerprint of a model folder: how often when that one was judged on it last.

    Raises:
        LedgerError: the file cannot be read.
    """
    lines = [line for line in _read(root) if line.model == model]
    naming = [number for number, line in enumerate(lines) if not key or key[:NAMED] in line.judged]
    if not naming:
        return None
    lines = lines[: naming[-1] + 1]
    last = lines[-1]
    return HoldoutReuse(len(judged_on(last.test, lines)), last.images, last.metric, last.spread)


def _read(root: Path) -> list[Judged]:
    """All comparisons, oldest first."""
    names, lines = [field.name for field in fields(Judged)], []
    for number, row in enumerate(read_lines(root / JUDGED), start=1):
        if missing := [name for name in names if name not in row]:
            raise LedgerError(f"Line {number} of {root / JUDGED} lacks {missing}. Restore the file with git.")
        lines.append(Judged(**{name: row[name] for name in names}))
    return lines
