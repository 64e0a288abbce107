"""Versions that give tags."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.images.views import Views, open_like
from meltpoint.model.card import Card
from meltpoint.params.data import ViewRow
from meltpoint.progress import track
from meltpoint.shards import open_shards
from meltpoint.tables import probability_columns, read_predictions
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import NamedTable
from meltpoint.tasks.tagging.mistakes import worst_mistakes
from meltpoint.tasks.tagging.paired import columns_of

MODEL_TYPE = "image tagger"  # as MLflow's pages call it
MOST_CLASSES = 20  # of a head whose probabilities are in the table of test predictions


def score_again(champion: Answerer, folder: Path, rows: Mapping[str, ViewRow], metric: str, batch: int) -> pd.DataFrame:
    """What the champion says of today's test images, with its own preprocessing and thresholds.

    The columns are `id`, `group` and, per head, what `metric` needs. Pictures that it refuses are left out.
    """
    views, same = open_like(champion.card.images, rows, folder / "data" / "views")
    samples = views.samples.iloc[views.rows("test")]
    if same:
        said = champion.predict_views(views, ("test",), batch)
    else:
        read = open_shards(folder / "data" / "raw").read
        said = champion.predict_images(map(read, track(samples["path"], "scoring the champion")), batch)
        said = said.assign(id=samples["id"].array, group=samples["group"].array)[said["error"].isna()]
    return pd.DataFrame(said[["id", "group", *columns_of(champion.card.classes, metric)]])


def tables_of(views: Views, card: Card, worst: int, report: Path) -> Iterator[NamedTable]:
    """The worst mistakes of the main head with their photographs, and what every head said of the test images."""
    predictions = read_predictions(report / "predictions.parquet", card.classes)
    wrong = worst_mistakes(predictions, card.main_head, card.heads[card.main_head]).head(worst)
    rows = np.searchsorted(views.samples["id"].to_numpy(), wrong["id"].to_numpy())
    wrong["path"] = views.samples["path"].to_numpy()[rows]
    shown = wrong[["missed", "wrong", "loss", "path", "id"]]
    yield "test_mistakes", shown.round(4), [np.asarray(views.plain[row]) for row in rows]
    many = [head for head, names in card.classes.items() if len(names) > MOST_CLASSES]
    wide = [name for head in many for name in probability_columns(head, card.classes[head])]
    test = predictions[predictions["split"] == "test"].drop(columns=["split", "group", *wide])
    yield "test_predictions", test.round(4), None
