"""Which exports may be offered: each is compared with the winner that it was made of, on the same images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meltpoint.arrays import Floats
from meltpoint.compare import formatting
from meltpoint.compare.influence import groups_of, mean_ratio
from meltpoint.compare.intervals import Interval
from meltpoint.compare.measured import Measured, count_groups, gather, say_few
from meltpoint.compare.results import PairedPart
from meltpoint.offers import Costs, OfferedExport, Offers
from meltpoint.params.judging import Compare
from meltpoint.tables import JUDGED, Classes

SAME = 1e-4  # between probabilities: so far apart is one model on two machines
SAID_SAME = f"its probabilities are the winner's within {SAME:g}, as on another machine"


@dataclass(frozen=True)
class Answered:
    """What a model answered: its `predictions` of val and test, scores (metrics.json), and costs.

    `agreement` (N,) is how much of its answer to each test image is that of the winner, whose own is 1; `groups` of
    these images. `apart` is how far a probability is from the winner's at most, on val and test.
    """

    fingerprint: str
    predictions: pd.DataFrame
    metrics: Mapping[str, Any]
    costs: Costs
    agreement: Floats
    groups: "pd.Series[str]"
    apart: float


def judge_exports(
    strategy: str, winner: Answered, exports: Mapping[str, Answered], head: str, classes: Classes, task: PairedPart,
    settings: Compare,
) -> Offers:  # fmt: skip
    """Judge each export by itself: it is offered if test shows that it loses less than the margin to the winner.

    As strategies are: paired, by the task's own metric, one-sided at 1 - confidence. An export whose probabilities are
    the winner's up to what machines differ by is the winner, and loses nothing that could be shown.
    """
    found = [_judge(name, winner, own, head, classes, task, settings) for name, own in exports.items()]
    measured = _measure(winner, winner, head, classes, task, settings)["test"]
    scores = {split: winner.metrics[split][head].get(settings.metric) for split in JUDGED}
    return Offers(
        strategy=strategy,
        winner=winner.fingerprint,
        head=head,
        metric=settings.metric,
        margin=settings.margin,
        confidence=settings.confidence,
        images=measured.images,
        sentence=_say(strategy, found, measured.images, settings),
        val=scores["val"],
        test=scores["test"],
        costs=winner.costs,
        exports=found,
    )


def no_exports(strategy: str, fingerprint: str, head: str, settings: Compare) -> Offers:
    """What there is to say where params.yaml asks for none."""
    return Offers(
        strategy=strategy, winner=fingerprint, head=head, metric=settings.metric, margin=settings.margin,
        confidence=settings.confidence, images=0,
        sentence=f"{strategy} is not exported: params.yaml has no row under export. Add one: `export: {{onnx: {{}}}}`.",
    )  # fmt: skip


def _measure(
    winner: Answered, own: Answered, head: str, classes: Classes, task: PairedPart, settings: Compare
) -> dict[str, Measured]:
    """The metric of the winner (0) and of an export (1) on each split."""
    tables = [one.predictions.sort_values(["split", "id"], ignore_index=True) for one in (winner, own)]
    return {
        split: task.pair([[table[table["split"] == split]] for table in tables], head, classes[head]).measure(
            settings.metric
        )
        for split in JUDGED
    }


def _judge(
    name: str, winner: Answered, own: Answered, head: str, classes: Classes, task: PairedPart, settings: Compare
) -> OfferedExport:
    measured = _measure(winner, own, head, classes, task, settings)["test"]
    level = 1 - settings.confidence
    difference = measured.difference(1, 0, settings.confidence)
    same = own.apart <= SAME
    offered = same or measured.shows(1, 0, settings.margin, level)
    least = None if measured.refusal else measured.least(1, 0, level)
    agreed = _agreement(own).interval(0, settings.confidence)
    return OfferedExport(
        format=name,
        fingerprint=own.fingerprint,
        offered=offered,
        reason=SAID_SAME if same else _reason(offered, measured, least, settings),
        agreement=round(float(own.agreement.mean()), 6),
        agreement_interval=_bounds(agreed),
        apart=own.apart,
        val=own.metrics["val"][head].get(settings.metric),
        test=own.metrics["test"][head].get(settings.metric),
        difference=round(difference.value, 6) if difference else None,
        interval=_bounds(difference.interval) if difference else None,
        at_least=None if least is None else round(least, 6),
        costs=own.costs,
    )


def _agreement(own: Answered) -> Measured:
    """The share of answers that are the winner's, as an accuracy whose truth is the winner."""
    group, shares = groups_of(own.groups), own.agreement
    groups = count_groups(group)
    influence = mean_ratio(group, np.zeros_like(group), shares, np.ones(len(shares)), groups)
    whole = bool(np.isin(shares, (0.0, 1.0)).all())  # of images, not of pixels
    right = (shares == 1.0)[None] if whole else None
    return gather("accuracy", [[influence]], group, np.array([groups]), say_few(len(shares), groups), right)


def _reason(offered: bool, measured: Measured, least: float | None, settings: Compare) -> str:
    """Why it is offered or refused, as a clause."""
    if least is None:
        return measured.refusal or formatting.MISSING
    gap, loss = (formatting.gap_of(settings.metric, one) for one in (settings.margin, max(0.0, -least)))
    if offered:
        return f"test rules out that it loses {gap} or more"
    return f"test does not rule out that it loses {loss}, and less than {gap} is allowed"


def _say(strategy: str, exports: list[OfferedExport], images: int, settings: Compare) -> str:
    """The closing sentence: which exports hold."""
    gap, metric = formatting.gap_of(settings.metric, settings.margin), formatting.METRICS[settings.metric]
    same = [export.format for export in exports if export.reason == SAID_SAME]
    held = [export.format for export in exports if export.offered and export.format not in same]
    refused: dict[str, list[str]] = {}
    for export in exports:
        if not export.offered:
            refused.setdefault(export.reason, []).append(export.format)
    parts = []
    if same:
        answer = "answers" if len(same) == 1 else "answer"
        parts.append(f"{_list(same)} {answer} as {strategy} does, each probability within {SAME:g}")
    if held:
        what = f"{'loses' if len(held) == 1 else 'lose'} less than {gap} {metric} to {strategy}"
        parts.append(
            f"{_list(held)} {what} on {formatting.counted(images, 'test image')}, with {settings.confidence:.0%}"
            " confidence each"
        )
    parts += [f"{_list(own)} {'is' if len(own) == 1 else 'are'} refused: {reason}" for reason, own in refused.items()]
    return f"{'; '.join(parts)}."


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval.low, 6), round(interval.high, 6)]
