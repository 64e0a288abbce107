"""What predictions are worth, in the same shape for every task: scores by split, head and class."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from meltpoint.arrays import Floats, Ints
from meltpoint.evaluate.curves import Ranking
from meltpoint.evaluate.hierarchy import TreeJudgement
from meltpoint.metrics import ratio
from meltpoint.model.card import HeadCard, TreeCard
from meltpoint.params.heads import Coverage

Score = float | None  # None: it cannot be had

MOST_NAMED = 5  # classes that a sentence names
BINS = ["low", "high", "images", "confidence", "accuracy"]


@dataclass(frozen=True)
class HeadJudgement:
    """One head on one split. A score that cannot be had (no image of a class, no labelled image) is None.

    `by_class` is indexed by class name and has a column for each score of a class, and `support`, what is labelled of
    it. `confusion` is (C, C), rows true; of tags, which exclude no other, it is empty. `reliability` has a row per bin
    of confidence that holds an image (see `curves.reliability`), `rankings` the ROC and precision-recall curve of each
    class that can be ranked; both are empty where no probabilities are kept.
    """

    card: HeadCard
    images: int
    scores: dict[str, Score]
    by_class: pd.DataFrame
    confusion: Ints
    reliability: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=BINS))
    rankings: dict[str, Ranking] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """The class names in the order of their ids."""
        return self.card.classes

    @property
    def absent(self) -> list[str]:
        """Classes of which nothing is labelled."""
        return [str(name) for name in self.by_class.index[self.by_class["support"] == 0]]

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores, what was set on val, and under `classes` the scores of each class, as plain numbers."""
        return {
            "images": self.images,
            "absent_classes": len(self.absent),
            **_plain(self.scores),
            **describe_calibration(self.card),
            "classes": {str(name): _plain(row) for name, row in self.by_class.to_dict("index").items()},
        }


@dataclass(frozen=True)
class Headline:
    """The score of the main head that a stage closes with, by its key and its name, and what it counts."""

    score: str
    name: str
    labelled: str  # what a labelled image has
    part: str  # what a class has of it
    summary: tuple[str, ...]  # the scores of summary.json


@dataclass(frozen=True)
class Judgement:
    """split -> head -> what its predictions are worth; and split -> what the tree does, where heads form one."""

    splits: dict[str, dict[str, HeadJudgement]]
    headline: Headline
    trees: dict[str, TreeJudgement] = field(default_factory=dict)
    tree: TreeCard | None = None

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of metrics.json: {split: {head: {score: value, classes: {name: {score: value}}}}}."""
        return {split: {head: judged.metrics for head, judged in heads.items()} for split, heads in self.splits.items()}

    @property
    def hierarchy(self) -> dict[str, Any]:
        """The content of hierarchy.json: {split: see `hierarchy.TreeJudgement.metrics`}, and {} without a tree."""
        return {split: judged.metrics for split, judged in self.trees.items()}

    @property
    def summary(self) -> dict[str, dict[str, dict[str, Score]]]:
        """The content of summary.json: few scores of each head, few enough for a table of `dvc metrics show`."""
        return {
            split: {head: {name: scores[name] for name in self.headline.summary} for head, scores in heads.items()}
            for split, heads in self.metrics.items()
        }

    def sentence(self, main_head: str) -> str:
        """The closing words of the stage: the headline of the main head, and the classes that test lacks."""
        judged, val, headline = self.splits["test"][main_head], self.splits["val"][main_head], self.headline
        if not judged.images:
            return f"no test image has {headline.labelled} for {main_head}, so it has no scores"
        more = f" and {len(judged.absent) - MOST_NAMED} more classes" if len(judged.absent) > MOST_NAMED else ""
        absent = ", ".join(judged.absent[:MOST_NAMED]) + more
        lacking = f"; test has no {headline.part} of {absent}" if absent else ""
        values = (judged.scores[headline.score], val.scores[headline.score])
        score, other = ("nothing" if value is None else f"{value:.1%}" for value in values)
        return f"{score} {headline.name} on {main_head}, {judged.images:,} test images ({other} on val){lacking}"


def share_of(part: Floats | Ints, whole: Floats | Ints) -> Floats:
    """Part / whole, NaN where whole is 0: of a class without an image nothing is known."""
    return np.where(whole > 0, ratio(part.astype(np.float64), whole.astype(np.float64)), np.nan)


def describe_calibration(card: HeadCard) -> dict[str, Any]:
    """The threshold and the wish it comes from, and below which confidence an answer is unknown; None if there is none.

    threshold: {at, metric, at_least}, unknown: {below, right} where `right` is the wished share of right answers, or
    {below, right: None, coverage} where sets are to hold the true class that often. `not_shown` are the wishes that
    val could not show, in words.
    """
    threshold, unknown, not_shown = None, None, list[str]()
    wished, doubt = card.head.threshold, card.head.unknown
    if card.threshold is not None:
        threshold = {"at": card.threshold, **(wished.model_dump() if wished else {"metric": None, "at_least": None})}
    elif wished is not None:
        not_shown.append(
            f"a {wished.metric} of at least {wished.at_least:.3g}, so the more probable class is the answer"
        )
    sets = isinstance(doubt, Coverage)
    if card.unknown_below is not None:
        unknown = {"below": card.unknown_below, "right": None if sets else doubt}
        unknown |= {"coverage": doubt.coverage} if isinstance(doubt, Coverage) else {}
    elif doubt is not None:
        what = f"a coverage of {doubt.coverage:.3g}" if isinstance(doubt, Coverage) else f"{doubt:.3g} of answers right"
        not_shown.append(f"{what}, so no answer is unknown")
    return {"threshold": threshold, "unknown": unknown, "not_shown": not_shown}


def _plain(scores: Mapping[Any, Any]) -> dict[str, int | Score]:
    """Numbers for JSON: six decimals, None for NaN."""
    return {
        str(name): None if value is None or np.isnan(value) else value if name == "support" else round(float(value), 6)
        for name, value in scores.items()
    }
