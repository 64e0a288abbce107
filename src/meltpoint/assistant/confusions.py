"""What a class is taken for on the test images, and what its answers stand for: from the evaluation of a model."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Ints
from meltpoint.errors import UserError
from meltpoint.model.card import Card, HeadCard
from meltpoint.params.judging import Evaluate
from meltpoint.tasks.contract import load_metrics

LISTED = 5  # confusions of a class


class ClassError(UserError, ValueError):
    """No class goes by that name."""


@dataclass(frozen=True)
class Confusions:
    """Of each head counts int64 (C, C) on test, rows true: of images, or of pixels. Empty: not known, or of tags."""

    counts: Mapping[str, Ints]

    def of(self, head: str, card: HeadCard, label: str, language: str | None) -> dict[str, Any] | None:
        """What else the class `label` may be; None where nothing is known.

        `really`: of what is answered so, what truly is another class. `answered_as`: of the class, what is answered as
        another one. Each with its share; the largest first.
        """
        counts = self.counts.get(head)
        if counts is None or not counts.size:
            return None
        at, names = card.classes.index(label), card.names.get(language or "", {})

        def largest(line: NDArray[np.int64]) -> list[dict[str, Any]]:
            order = [int(place) for place in np.argsort(-line, kind="stable") if line[place] and place != at][:LISTED]
            return [
                {
                    "label": card.classes[place], "name": names.get(card.classes[place], card.classes[place]),
                    "count": int(line[place]), "share": round(float(line[place] / line.sum()), 4),
                }
                for place in order
            ]  # fmt: skip

        return {
            "test_count": int(counts[at].sum()), "right": int(counts[at, at]), "really": largest(counts[:, at]),
            "answered_as": largest(counts[at]),
        }  # fmt: skip


def read_confusions(predictions: Path | None, card: Card) -> Confusions:
    """The confusions in a table of predictions, as `evaluate` writes it; none without the table."""
    if predictions is None or not predictions.is_file():
        return Confusions({})
    settings = Evaluate(batch=1, calibration_bins=2, latency_runs=1)  # of what is not looked at here
    judged = load_metrics(card.task).judge(pd.read_parquet(predictions), card, settings).splits["test"]
    return Confusions({head: own.confusion for head, own in judged.items()})


def find_class(card: Card, asked: str, head: str | None) -> tuple[str, str]:
    """The head and the label of a class that goes by `asked`, a label or a name in any language; case does not count.

    The beginning of a name is enough where no other class begins so.

    Of several heads with such a class it is the last level of a tree, or the main head, or else the first.

    Raises:
        ClassError: there is none.
    """
    if head is not None and head not in card.heads:
        raise ClassError(f"There is no head {head!r}. The heads are {list(card.heads)}. Name one of them, or none.")
    leaf = card.tree.levels[-1] if card.tree else card.main_head
    order = [head] if head is not None else sorted(card.heads, key=lambda name: name != leaf)
    known: dict[str, tuple[str, str]] = {}
    for name in order:
        named = card.heads[name].names.values()
        for label in card.heads[name].classes:
            for called in (label, *(names[label] for names in named if label in names)):
                known.setdefault(called, (name, label))
    folded = {called.casefold(): found for called, found in reversed(known.items())}
    wanted = asked.strip()
    found = known.get(wanted) or folded.get(wanted.casefold())
    begun = [called for called in folded if wanted and called.startswith(wanted.casefold())]
    if found is None and len({folded[called] for called in begun}) == 1:  # `tree pose` of `Tree Pose(Vrksasana)`
        found = folded[begun[0]]
    if found is None:
        near = begun[:5] or difflib.get_close_matches(wanted[:100].casefold(), folded, 5)
        others = " and others" if len(known) > 10 else ""
        hint = f"Near it are {near}." if near else f"Known are {list(known)[:10]}{others}."
        raise ClassError(f"No class is called {wanted[:100]!r}. {hint} describe_model lists all.")
    return found
