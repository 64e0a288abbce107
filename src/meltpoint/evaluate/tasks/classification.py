"""Classes of images: judged by what is answered and how surely, drawn as curves, matrices and mistakes."""

from pathlib import Path
from typing import Protocol

import pandas as pd

from meltpoint.evaluate import classification
from meltpoint.evaluate.classification import Judgement
from meltpoint.evaluate.report import write_evaluation
from meltpoint.images.views import Views
from meltpoint.model.card import Card
from meltpoint.params.judging import Evaluate


class Described(Protocol):
    """A predictor, as far as it is asked here."""

    @property
    def card(self) -> Card:
        """What the model says of itself."""


def judge(predictions: pd.DataFrame, card: Card, settings: Evaluate) -> Judgement:
    """Judge predictions (see `tables.check_predictions`) of the heads of a card."""
    return classification.judge(predictions, card.heads, card.tree, settings.calibration_bins)


def write(
    predictions: pd.DataFrame,
    judgement: Judgement,
    views: Views,
    predictor: Described,
    settings: Evaluate,
    folder: Path,
) -> None:
    """Write the report of a strategy to `folder` (see `report.write_evaluation`)."""
    write_evaluation(predictions, judgement, views, predictor.card.main_head, settings, folder)
