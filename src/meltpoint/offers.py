"""reports/exports.json as a record: `offer` writes it, and what registers or serves an export reads it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from meltpoint.errors import UserError
from meltpoint.files import read_json, write_json

Row = TypeVar("Row")


class OfferError(UserError, ValueError):
    """exports.json does not hold what this version needs, or an export is not offered."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Megabytes on disk; milliseconds for one image, the median and of the slowest 5%; images a second in batches."""

    megabytes: float
    latency_p50_ms: float
    latency_p95_ms: float
    throughput_per_second: float


@dataclass(frozen=True, kw_only=True)
class OfferedExport:
    """An export beside the winner: shares in [0, 1], intervals [low, high], null where the metric cannot tell.

    `agreement` is the share of test images (of masks: of pixels) that it answers as the winner does. `difference` is by
    how much it is better than the winner on test, `at_least` the gain that test shows, below 0 a loss that is not
    ruled out. `apart` is how far a probability is from the winner's at most, on val and test. `reason` says why it is
    offered or refused.
    """

    format: str
    fingerprint: str  # the sha256 of its manifest
    offered: bool
    reason: str
    agreement: float
    agreement_interval: Sequence[float] | None
    apart: float
    val: float | None
    test: float | None
    difference: float | None
    interval: Sequence[float] | None
    at_least: float | None
    costs: Costs


@dataclass(frozen=True, kw_only=True)
class Offers:
    """The exports of a winner, judged on the same images."""

    strategy: str
    winner: str  # the sha256 of its model's manifest
    head: str
    metric: str
    margin: float
    confidence: float
    images: int  # of test, labelled
    sentence: str
    val: float | None = None  # of the winner
    test: float | None = None
    costs: Costs | None = None  # of the winner; null where there are no exports
    exports: Sequence[OfferedExport] = ()

    def find(self, name: str) -> OfferedExport:
        """The export of that format, if it is offered.

        Raises:
            OfferError: there is none, or it was refused.
        """
        found = next((export for export in self.exports if export.format == name), None)
        if found is None:
            there = ", ".join(export.format for export in self.exports) or "none"
            raise OfferError(
                f"{self.strategy} has no export {name!r}; it has {there}. Write `export: {{{name}: ...}}` into"
                " params.yaml, and run: dvc repro"
            )
        if not found.offered:
            offered = ", ".join(export.format for export in self.exports if export.offered) or "none"
            raise OfferError(
                f"The export {name!r} of {self.strategy} was refused, and is not served: {found.reason}. Offered are"
                f" {offered}; reports/exports.html shows all."
            )
        return found


def write_offers(offers: Offers, path: Path) -> None:
    """Write a record as JSON, its fields in their order."""
    write_json(path, asdict(offers))


def read_offers(path: Path) -> Offers | None:
    """Read what `write_offers` wrote; None if there is no such file: older pipelines had no exports.

    Raises:
        OfferError: it lacks what this version needs.
    """
    try:
        raw = read_json(path)
        exports = [_known(OfferedExport, {**row, "costs": _known(Costs, row["costs"])}) for row in raw["exports"]]
        costs = None if raw["costs"] is None else _known(Costs, raw["costs"])
        return _known(Offers, {**raw, "costs": costs, "exports": exports})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OfferError(
            f"{path} cannot be read by this version: {error}. Make it again: dvc repro --force offer"
        ) from error


def _known(kind: type[Row], row: Any) -> Row:
    """A record of what this version knows of a JSON object."""
    return kind(**{field.name: row[field.name] for field in fields(kind) if field.name in row})  # type: ignore[arg-type]
