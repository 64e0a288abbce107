"""reports/compare.json as a record: `compare` writes it, and what acts on its decision reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from meltpoint.errors import UserError
from meltpoint.files import read_json, write_json

Row = TypeVar("Row")


class ComparisonError(UserError, ValueError):
    """compare.json does not hold what this version needs."""


@dataclass(frozen=True, kw_only=True)
class ComparedStrategy:
    """A strategy: scores are shares in [0, 1], costs in their units, intervals [low, high], null where unknown."""

    name: str
    encoder: str = ""  # the name of its backbone; empty where an older version wrote the file
    side: int | None = None  # of its images, in pixels
    standing: str = ""
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]  # split -> head -> metric -> score, but for single classes
    intervals: Mapping[str, Mapping[str, Mapping[str, Sequence[float] | None]]]  # of the metric that decides
    cost: Mapping[str, float | None]
    trainings: Sequence[float] = ()  # the main head's score on test of each training


@dataclass(frozen=True, kw_only=True)
class ComparedPair:
    """By how much `a` is better than `b`, also where less is better; null where the metric cannot tell."""

    a: str
    b: str
    split: str
    head: str
    metric: str
    at_least: float | None = None  # the gain that test shows, for all others together
    difference: float | None
    interval: Sequence[float] | None
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Which strategy to ship, and why. What older versions did not write has a default."""

    winner: str
    verdict: str  # `ship` or `not_enough_evidence`
    sentence: str
    best: str = ""  # on val
    main_head: str
    metric: str
    margin: float = 0.0
    confidence: float = 0.0
    cost: str = ""
    images: Mapping[str, int] | None = None  # split -> labelled images of the main head
    groups: Mapping[str, int] | None = None  # split -> groups of these images
    spread: float | None = None  # how far scores on test differ between models by chance
    refusal: str | None = None
    more_images: Mapping[str, Any] | None = None  # test images that would settle it, and test's share of new ones
    strategies: Sequence[ComparedStrategy]
    trees: Mapping[str, Any] | None = None  # strategy -> what its answers say of the tree of labels
    pairs: Sequence[ComparedPair] = ()

    @property
    def main(self) -> str:
        """The score that decides: "head/metric"."""
        return f"{self.main_head}/{self.metric}"

    @property
    def ships(self) -> bool:
        """Whether there was enough evidence for the winner."""
        return self.verdict == "ship"

    def costs_of(self, strategy: str) -> dict[str, float]:
        """The costs of a strategy that were measured."""
        row = next(row for row in self.strategies if row.name == strategy)
        return {name: float(value) for name, value in row.cost.items() if value is not None}


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison as JSON, its fields in their order."""
    write_json(path, asdict(comparison))


def read_comparison(path: Path) -> Comparison:
    """Read what `write_comparison` of this version or an older one wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ComparisonError: it lacks what this version needs.
    """
    try:
        raw = read_json(path)
        strategies = [_known(ComparedStrategy, row) for row in raw["strategies"]]
        pairs = [_known(ComparedPair, row) for row in raw.get("pairs", [])]
        return _known(Comparison, {**raw, "strategies": strategies, "pairs": pairs})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ComparisonError(
            f"{path} is not a comparison that this version can read: {error}. Make it again: dvc repro --force compare"
        ) from error


def _known(kind: type[Row], row: Mapping[str, Any]) -> Row:
    """A record of what this version knows of a JSON object."""
    return kind(**{field.name: row[field.name] for field in fields(kind) if field.name in row})  # type: ignore[arg-type]
