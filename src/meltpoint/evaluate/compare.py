"""The decision: val chooses the best strategy, test says how sure that is, the cheapest that is as good is shipped."""

from dataclasses import dataclass
from typing import Any

from meltpoint.errors import UserError
from meltpoint.evaluate.answers import SPLITS
from meltpoint.evaluate.bootstrap import Bootstrap, Difference, Interval, holm
from meltpoint.evaluate.evidence import Evidence
from meltpoint.evaluate.sentence import Facts, say_decision
from meltpoint.evaluate.verdict import Rival, Ruling, cheapest_best, rule
from meltpoint.params.judging import Compare


class CompareError(UserError, ValueError):
    """Nothing can be compared: the main head has no labelled image on val or test."""


@dataclass(frozen=True)
class Row:
    """A strategy: `metrics` is split -> head -> score, `intervals` split -> head -> interval of the deciding metric.

    A head without labelled images on a split, or without that metric, has no interval there.
    """

    name: str
    metrics: dict[str, Any]
    intervals: dict[str, dict[str, Interval]]
    cost: dict[str, float]


@dataclass(frozen=True)
class Pair:
    """The main head's deciding metric of `a`, the best on val, minus that of `b`; `p_holm` is adjusted per split."""

    a: str
    b: str
    split: str
    difference: Difference
    p_holm: float


@dataclass(frozen=True)
class Decision:
    """Which strategy to ship, why, and everything the report shows."""

    sentence: str
    best: str
    ruling: Ruling
    rows: list[Row]
    pairs: list[Pair]
    images: dict[str, int]  # split -> labelled images of the main head
    settings: Compare
    seed: int
    evidence: Evidence

    @property
    def winner(self) -> str:
        """The strategy to ship, or so far the best on val."""
        return self.ruling.winner

    @property
    def verdict(self) -> str:
        """`ship` or `not_enough_evidence`."""
        return self.ruling.verdict


def compare(evidence: Evidence, settings: Compare, seed: int) -> Decision:
    """Decide which strategy to ship (see `verdict.rule`).

    Raises:
        CompareError: the main head has no labelled image on val or on test.
    """
    head, names = evidence.main_head, evidence.strategies
    drawn = _resample(evidence, settings, seed)
    val, test = (_main(drawn, split, head) for split in SPLITS)
    deciding = {name: evidence.costs[name][settings.cost] for name in names}
    best = cheapest_best(dict(zip(names, val.scores.tolist(), strict=True)), deciding)
    pairs = [pair for split in SPLITS for pair in _pairs(drawn[split][head], best, split, names, settings)]
    tested = {pair.b: pair for pair in pairs if pair.split == "test"}
    rivals = [Rival(name, deciding[name], pair.difference, pair.p_holm) for name, pair in tested.items()]
    ruling = rule(best, deciding[best], rivals, test.images, settings)
    return Decision(
        sentence=say_decision(ruling, _facts(evidence, best, test, tested, settings)),
        best=best,
        ruling=ruling,
        rows=[_row(index, name, drawn, evidence, settings) for index, name in enumerate(names)],
        pairs=pairs,
        images={"val": val.images, "test": test.images},
        settings=settings,
        seed=seed,
        evidence=evidence,
    )


def _facts(evidence: Evidence, best: str, test: Bootstrap, tested: dict[str, Pair], settings: Compare) -> Facts:
    names = evidence.strategies
    return Facts(
        best=best,
        main_head=evidence.main_head,
        images=test.images,
        scores=dict(zip(names, test.scores.tolist(), strict=True)),
        intervals={name: test.interval(index, settings.confidence) for index, name in enumerate(names)},
        differences={name: pair.difference for name, pair in tested.items()},
        p_holm={name: pair.p_holm for name, pair in tested.items()},
        costs=evidence.costs,
        settings=settings,
    )


def _resample(evidence: Evidence, settings: Compare, seed: int) -> dict[str, dict[str, Bootstrap]]:
    """Split -> head -> the deciding metric of every strategy, resampled; heads that do not have it are left out."""
    return {
        split: {
            head: answers.resample(settings.metric, settings.resamples, seed)
            for head, answers in heads.items()
            if answers.images and settings.metric in evidence.metrics[evidence.strategies[0]][split][head]
        }
        for split, heads in evidence.answers.items()
    }


def _main(drawn: dict[str, dict[str, Bootstrap]], split: str, head: str) -> Bootstrap:
    if head not in drawn[split]:
        raise CompareError(
            f"No image of {split} has a label for the main head {head!r}, so strategies cannot be compared. Labelled "
            f"images are needed on val and on test. Label some, or give `main: true` to another head in params.yaml."
        )
    return drawn[split][head]


def _pairs(drawn: Bootstrap, best: str, split: str, names: list[str], settings: Compare) -> list[Pair]:
    first, others = names.index(best), [name for name in names if name != best]
    found = [drawn.difference(first, names.index(name), settings.confidence) for name in others]
    adjusted = holm([difference.p_value for difference in found])
    return [Pair(best, *row) for row in zip(others, [split] * len(others), found, adjusted, strict=True)]


def _row(index: int, name: str, drawn: dict[str, dict[str, Bootstrap]], evidence: Evidence, settings: Compare) -> Row:
    intervals = {
        split: {head: bootstrap.interval(index, settings.confidence) for head, bootstrap in heads.items()}
        for split, heads in drawn.items()
    }
    return Row(name, evidence.metrics[name], intervals, evidence.costs[name])
