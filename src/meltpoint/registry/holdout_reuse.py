"""How often a test set was used: how many models were judged on it, and how much too well the best of them scores.

A test set is recognised by a sketch: the smallest of its images' hashes. Two sets that share most images share most of
these (Broder, On the Resemblance and Containment of Documents, 1997), so a count goes on when a few images come and go.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from filelock import FileLock

from meltpoint.compare.formatting import METRICS, counted, flattery
from meltpoint.registry.ledger import Row, read_lines, write_lines
from meltpoint.tracking.database import lock_path

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
        count = f"{counted(self.models, 'model')} judged on this test set of {counted(self.images, 'image')}"
        if self.models < 2 or not self.spread:
            return count
        much = flattery(self.metric, self.models, self.spread)
        return (
            f"{count}: of as many equally good models the best would score about {much} {METRICS[self.metric]} too "
            "well here; label fresh images, of which a share falls to test by itself"
        )


def sketch(hashes: Iterable[str]) -> list[str]:
    """The sketch of a test set, from the sha256 of its images."""
    return sorted({one[:DIGITS] for one in hashes})[:SKETCH]


def is_same(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two test sets share about half of their images or more."""
    both = sorted({*first, *second})[: max(len(first), len(second))]
    return bool(both) and len({*both} & {*first} & {*second}) >= SAME * len(both)


def judged_on(test: Sequence[str], lines: Iterable[Judged]) -> set[str]:
    """The models that were judged on a test set, by their short fingerprints."""
    return {model for line in lines if is_same(test, line.test) for model in line.judged}


def write_judged(root: Path, line: Judged) -> None:
    """Add a line to `JUDGED`, if it names a model that none before named for this test set.

    Raises:
        LedgerError: the file cannot be read.
    """
    with FileLock(lock_path(root, "ledger")):
        if not set(line.judged) <= judged_on(line.test, _read(root, line.model)):
            write_lines(root / JUDGED, [asdict(line)])


def reuse_of(root: Path, model: str, key: str = "") -> HoldoutReuse | None:
    """How often the latest test set of a registered model was used; None if no model was judged.

    With `key`, the fingerprint of a model folder: how often when that one was judged on it last.

    Raises:
        LedgerError: the file cannot be read.
    """
    lines = _read(root, model)
    naming = [number for number, line in enumerate(lines) if not key or key[:NAMED] in line.judged]
    if not naming:
        return None
    lines = lines[: naming[-1] + 1]
    last = lines[-1]
    return HoldoutReuse(len(judged_on(last.test, lines)), last.images, last.metric, last.spread)


def _read(root: Path, model: str) -> list[Judged]:
    """All comparisons of a registered model, oldest first."""

    def build(row: Row) -> Judged:
        return Judged(**{field.name: row[field.name] for field in fields(Judged)})

    return [line for line in read_lines(root / JUDGED, build) if line.model == model]
