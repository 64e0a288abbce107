"""Versions that give tags."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from meltpoint.images.views import Views
from meltpoint.model.card import Card
from meltpoint.params.data import ViewRow
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import NamedTable
from meltpoint.tasks.picture_versions import ask_again, make_tables
from meltpoint.tasks.tagging.mistakes import worst_mistakes
from meltpoint.tasks.tagging.paired import columns_of

MODEL_TYPE = "image tagger"  # as MLflow's pages call it


def score_again(champion: Answerer, folder: Path, rows: Mapping[str, ViewRow], metric: str, batch: int) -> pd.DataFrame:
    """What the champion says of today's test images: `id`, `group` and, per head, what `metric` needs."""
    return ask_again(champion, folder, rows, columns_of(champion.card.classes, metric), batch)


def tables_of(views: Views, card: Card, worst: int, report: Path) -> Iterator[NamedTable]:
    """The worst mistakes of the main head with their photographs, and what every head said of the test images."""

    def find(predictions: pd.DataFrame) -> pd.DataFrame:
        return worst_mistakes(predictions, card.main_head, card.heads[card.main_head]).head(worst)

    return make_tables(views, card, report, find, ["missed", "wrong", "loss"])
