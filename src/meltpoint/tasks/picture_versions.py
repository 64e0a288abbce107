"""What tasks share whose versions answer for a whole picture: a champion asked again, and tables for MLflow."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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

MOST_CLASSES = 20  # of a head whose probabilities are in the table of test predictions


def ask_again(
    champion: Answerer, folder: Path, rows: Mapping[str, ViewRow], columns: Sequence[str], batch: int
) -> pd.DataFrame:
    """What the champion says of today's test images: `id`, `group` and those columns.

    It answers as its card says: with its own preprocessing, thresholds and tree. Pictures that it refuses (it may have
    a lower limit of pixels) are left out.
    """
    views, same = open_like(champion.card.images, rows, folder / "data" / "views")
    samples = views.samples.iloc[views.rows("test")]
    if same:
        said = champion.predict_views(views, ("test",), batch)
    else:
        read = open_shards(folder / "data" / "raw").read
        said = champion.predict_images(map(read, track(samples["path"], "scoring the champion")), batch)
        said = said.assign(id=samples["id"].array, group=samples["group"].array)[said["error"].isna()]
    return pd.DataFrame(said[["id", "group", *columns]])


def make_tables(
    views: Views,
    card: Card,
    report: Path,
    find_mistakes: Callable[[pd.DataFrame], pd.DataFrame],
    columns: Sequence[str],
) -> Iterator[NamedTable]:
    """Those `columns` of the mistakes of the main head with their photographs, and the answers for the test images.

    The folder `report` has the predictions. Of a head with many classes the table has the answer, and
    predictions.parquet the probabilities.
    """
    predictions = read_predictions(report / "predictions.parquet", card.classes)
    wrong = find_mistakes(predictions)
    rows = np.searchsorted(views.samples["id"].to_numpy(), wrong["id"].to_numpy())
    wrong["path"] = views.samples["path"].to_numpy()[rows]
    shown = wrong[[*columns, "path", "id"]]
    yield "test_mistakes", shown.round(4), [np.asarray(views.plain[row]) for row in rows]
    many = [head for head, names in card.classes.items() if len(names) > MOST_CLASSES]
    wide = [name for head in many for name in probability_columns(head, card.classes[head])]
    test = predictions[predictions["split"] == "test"].drop(columns=["split", "group", *wide])
    yield "test_predictions", test.round(4), None
