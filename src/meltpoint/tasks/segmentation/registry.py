"""Versions that predict a class for each pixel."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meltpoint.images.mask_files import resize_mask
from meltpoint.images.views import Views, open_like
from meltpoint.metrics import confusion
from meltpoint.model.card import Card
from meltpoint.params.data import ViewRow
from meltpoint.progress import track
from meltpoint.shards import open_shards
from meltpoint.tables import PIXELS, pixel_column, read_counts
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import NamedTable
from meltpoint.tasks.segmentation.paired import columns_of
from meltpoint.tasks.segmentation.pixel_counts import commonest_error, score_images

MODEL_TYPE = "semantic segmentation"  # as MLflow's pages call it


def score_again(
    champion: Answerer,
    folder: Path,
    rows: Mapping[str, ViewRow],
    metric: str,  # noqa: ARG001 - every metric of masks is computed from the same counts
    batch: int,
) -> pd.DataFrame:
    """What the champion says of today's test masks: `id`, `group` and, per head, tp, fp, fn of each class.

    A champion of another geometry looks at the pictures with its own preprocessing; its masks, in the pictures' own
    size, are then brought to today's, so that both are counted on the same pixels. What it is not shown it misses.
    Pictures that it refuses are left out.
    """
    views, same = open_like(champion.card.images, rows, folder / "data" / "views")
    if same:
        said = champion.predict_views(views, ("test",), batch)
        return pd.DataFrame(said[["id", "group", *columns_of(champion.card.classes)]])
    places, masks, geometry = views.rows("test"), views.masks, next(iter(rows.values())).geometry
    assert masks is not None, "views of a segmentation have masks"
    samples = views.samples.iloc[places]
    read = open_shards(folder / "data" / "raw").read
    answers = champion.stream(map(read, track(samples["path"], "scoring the champion")), batch=batch)
    counted: list[dict[str, Any]] = []
    for place, number, group, answer in zip(places, samples["id"], samples["group"], answers, strict=True):
        if answer.error is not None:
            continue
        counted.append({"id": number, "group": group})
        for head, own in answer.masks.items():
            names, true, predicted = champion.card.classes[head], masks[place], resize_mask(own.mask, geometry)
            size = len(names)  # an answer that is no class meets none
            known = np.where(true < size, true.astype(np.int64), -1).ravel()
            counts = confusion(known, np.minimum(predicted, size).astype(np.int64).ravel(), size + 1)[:size]
            hits = np.diagonal(counts)
            for count, pixels in zip(PIXELS, (hits, counts.sum(0)[:size] - hits, counts.sum(1) - hits), strict=True):
                counted[-1] |= {
                    pixel_column(head, count, name): int(value) for name, value in zip(names, pixels, strict=True)
                }
    return pd.DataFrame(counted)


def tables_of(views: Views, card: Card, worst: int, report: Path) -> Iterator[NamedTable]:
    """The worst images of the main head with their photographs, and the IoU of all test images.

    The folder `report` has the predictions.
    """
    predictions, main = read_counts(report / "predictions.parquet", card.classes), card.main_head
    scored = score_images(predictions, main, card.classes[main])
    worst_ones = scored.head(worst)
    rows = np.searchsorted(views.samples["id"].to_numpy(), worst_ones["id"].to_numpy())
    errors = commonest_error(predictions, main, card.classes[main])
    mistakes = worst_ones.assign(error=[errors[number] for number in worst_ones["id"]])
    photographs = [np.asarray(views.plain[row]) for row in rows]
    yield "test_mistakes", mistakes[["iou", "error", "path", "id"]].round(4), photographs
    yield "test_predictions", scored.round(4), None
