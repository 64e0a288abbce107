"""The decision: the cheapest strategy is shipped that test shows to lose less than the margin to every other."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from meltpoint.compare.formatting import METRICS, encoder_at
from meltpoint.compare.intervals import Interval, holm
from meltpoint.compare.measured import Difference, Measured
from meltpoint.compare.results import Results
from meltpoint.compare.summary import Facts, say_decision
from meltpoint.compare.verdict import Ruling, Standing, cheapest_best, rule
from meltpoint.errors import UserError
from meltpoint.params.judging import Compare
from meltpoint.tables import JUDGED


class CompareError(UserError, ValueError):
    """Nothing can be compared: the main head has no labelled image on val or test."""


@dataclass(frozen=True)
class Row:
    """A strategy: `metrics` is split -> head -> score, `intervals` split -> head -> interval of the deciding metric.

    A head without labelled images on a split, or without that metric, has no interval there; None where the images are
    too few for one. `test` and `val` are the main head's deciding metric, `interval` that of test, `trainings` the
    scores on test of all trainings of the strategy.
    """

    name: str
    backbone: str
    side: int  # of its images, in pixels
    standing: Standing
    metrics: dict[str, Any]
    intervals: dict[str, dict[str, Interval | None]]
    cost: dict[str, float]
    test: float
    val: float
    interval: Interval | None
    trainings: list[float]

    @property
    def wins(self) -> bool:
        """Whether it is the one to ship, or so far the best on val."""
        return self.standing in ("ship", "leads")

    @property
    def encoder(self) -> str:
        """What it is made of: tf_efficientnet_lite0 at 128 px."""
        return encoder_at(self.backbone, self.side)


@dataclass(frozen=True)
class Pair:
    """By how much `a`, the winner, is better than `b` in the main head's deciding metric; `p_holm` adjusts per split.

    `difference` is None where the metric cannot decide. `least` is the gain that test shows, for all others together at
    the asked confidence: what ships has none that is the margin below 0; None of val.
    """

    a: str
    b: str
    split: str
    difference: Difference | None
    p_holm: float | None
    least: float | None


@dataclass(frozen=True)
class Decision:
    """Which strategy to ship, why, and everything the report shows."""

    sentence: str
    best: str  # on val
    ruling: Ruling
    rows: list[Row]
    pairs: list[Pair]
    images: dict[str, int]  # split -> labelled images of the main head
    groups: dict[str, int]  # split -> groups of these images
    settings: Compare
    results: Results

    @property
    def winner(self) -> str:
        """The strategy to ship, or so far the best on val."""
        return self.ruling.winner

    @property
    def verdict(self) -> str:
        """`ship` or `not_enough_evidence`."""
        return self.ruling.verdict

    @property
    def spread(self) -> float | None:
        """How far scores on test differ between models by chance (see `intervals.optimism`); None of a single one."""
        errors = [pair.difference.standard_error for pair in self.pairs if pair.difference and pair.split == "test"]
        return median(errors) / 2**0.5 if errors else None


def compare(results: Results, settings: Compare) -> Decision:
    """Decide which strategy to ship (see `verdict.rule`).

    Raises:
        CompareError: the main head has no labelled image on val or on test, or the metric is not known there.
    """
    names, metric = results.strategies, settings.metric
    measured = {
        split: {
            head: answers.measure(metric)
            for head, answers in heads.items()
            if len(answers.group) and results.metrics[names[0]][split][head].get(metric) is not None
        }
        for split, heads in results.answers.items()
    }  # heads that do not have the metric are left out
    for split in JUDGED:
        _check_main(results, split, results.main_head in measured[split], metric)
    val, test = (measured[split][results.main_head] for split in JUDGED)
    costs = {name: results.costs[name][settings.cost] for name in names}
    best = cheapest_best(dict(zip(names, (val.sign * val.scores).tolist(), strict=True)), costs)
    ruling = rule(names, test, best, costs, settings)
    pairs = [*_pairs(val, ruling, "val", names, settings), *_pairs(test, ruling, "test", names, settings)]
    facts = Facts(
        main_head=results.main_head,
        val_images=val.images,
        test_images=test.images,
        test_groups=test.groups,
        test_share=results.test_share,
        val=dict(zip(names, val.scores.tolist(), strict=True)),
        test=dict(zip(names, test.scores.tolist(), strict=True)),
        interval=test.interval(names.index(ruling.winner), settings.confidence),
        differences={pair.b: pair.difference for pair in pairs if pair.split == "test" and pair.difference is not None},
        trainings=[len(own) for own in test.runs],
        costs=results.costs,
        settings=settings,
    )
    return Decision(
        sentence=say_decision(ruling, facts),
        best=best,
        ruling=ruling,
        rows=[_row(index, ruling.standings[name], measured, results, settings) for index, name in enumerate(names)],
        pairs=pairs,
        images={"val": val.images, "test": test.images},
        groups={"val": val.groups, "test": test.groups},
        settings=settings,
        results=results,
    )


def _check_main(results: Results, split: str, known: bool, metric: str) -> None:
    head = results.main_head
    if known:
        return
    if len(results.answers[split][head].group):
        raise CompareError(
            f"{METRICS[metric]} of the main head {head!r} is not known on {split}, whose labelled images are of one "
            "class alone. Label images of another class, or set compare.metric to accuracy or log_loss in params.yaml."
        )
    raise CompareError(
        f"No image of {split} has a label for the main head {head!r}, so strategies cannot be compared. Labelled "
        f"images are needed on val and on test. Label some, or give `main: true` to another head in params.yaml."
    )


def _pairs(measured: Measured, ruling: Ruling, split: str, names: list[str], settings: Compare) -> list[Pair]:
    winner, first = ruling.winner, names.index(ruling.winner)
    others = [name for name in names if name != winner]
    found = [measured.difference(first, names.index(name), settings.confidence) for name in others]
    known = [difference for difference in found if difference is not None]
    if len(known) < len(found):
        return [Pair(winner, name, split, None, None, None) for name in others]
    adjusted = holm([difference.p_value for difference in known])
    return [
        Pair(
            winner, name, split, difference, p_holm,
            measured.least(first, names.index(name), ruling.levels[name]) if split == "test" else None,
        )
        for name, difference, p_holm in zip(others, known, adjusted, strict=True)
    ]  # fmt: skip


def _row(
    index: int, standing: Standing, measured: dict[str, dict[str, Measured]], results: Results, settings: Compare
) -> Row:
    name, head = results.strategies[index], results.main_head
    recipe, metrics = results.recipes[name], results.metrics[name]
    intervals = {
        split: {head: found.interval(index, settings.confidence) for head, found in heads.items()}
        for split, heads in measured.items()
    }
    return Row(
        name=name,
        backbone=recipe.encoder.name,
        side=recipe.views.side,
        standing=standing,
        metrics=metrics,
        intervals=intervals,
        cost=results.costs[name],
        test=metrics["test"][head][settings.metric],
        val=metrics["val"][head][settings.metric],
        interval=intervals["test"][head],
        trainings=measured["test"][head].runs[index].tolist(),
    )
