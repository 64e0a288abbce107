"""Answers of heads that predict a class for each pixel: masks in a picture's own size, and tables of counted pixels."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Mask, Pixels, Probabilities
from meltpoint.model.card import HeadCard
from meltpoint.params.heads import Head
from meltpoint.predict.inputs import Picture, Source, stack_pixels
from meltpoint.predict.predictor import Predictor, read_views
from meltpoint.predict.records import Answer, Area, MaskAnswer, PredictError, Question
from meltpoint.tables import (
    BORDERS,
    IDENTITY,
    PIXELS,
    area_column,
    border_column,
    check_counts,
    confusion_column,
    pixel_column,
)
from meltpoint.tasks.segmentation.borders import count_borders
from meltpoint.tasks.segmentation.geometry import UNSEEN, is_larger, restore, slide

if TYPE_CHECKING:
    from torch import Tensor

    from meltpoint.images.views import Views
    from meltpoint.parts import Parts

MASKS = True  # whether answers are masks
AT_ONCE = 2**20  # pixels through the model together: probabilities of all classes take a hundred bytes of each


def decode(outputs: "Tensor", head: Head) -> "Tensor":
    """Logits (..., N, C, S, S) to probabilities float32 of the same shape; they sum to 1 over the classes."""
    from meltpoint.tasks.segmentation.objective import decode  # and torch, which exports do without

    return decode(outputs, head)


def look(
    predictor: Predictor, sources: Source | Iterable[Source], question: Question, batch: int, side: int | None
) -> Iterator[tuple[Answer, Pixels | None]]:
    """The answer to each picture, and the picture itself; see `Answerer.look`."""
    some = 1 if question.window else fit_batch(predictor, batch)  # few whole pictures wait in memory
    for pictures, found in predictor.run(sources, partial(_masks, predictor), some, side, whole=question.window):
        masks = iter(found or [])
        for picture in pictures:
            own = {} if picture.error else next(masks)
            said = {head: read_mask(predictor.card.heads[head], mask, question.language) for head, mask in own.items()}
            yield Answer(picture.source, picture.error, {}, (), said), picture.shown


def decide_all(predictor: Predictor, probabilities: Probabilities) -> dict[str, NDArray[Any]]:  # noqa: ARG001
    """Masks uint8 (N, S, S) by head."""
    return {head: own.argmax(1).astype(np.uint8) for head, own in probabilities.items()}


def predict_views(predictor: Predictor, views: "Views", rows: NDArray[np.int64], batch: int) -> pd.DataFrame:
    """The table of `tables.check_counts` for some plain views.

    Raises:
        PredictError: the views have no masks, or other classes than the model.
    """
    import torch

    from meltpoint.tasks.segmentation.objective import count_ids

    truth = _check_masks(predictor, views)
    sizes = {head: len(names) for head, names in predictor.card.classes.items()}
    pairs = {head: np.empty((len(rows), size, size), np.int64) for head, size in sizes.items()}
    borders = {head: np.empty((len(rows), len(BORDERS), size), np.int64) for head, size in sizes.items()}
    done = 0
    with ThreadPoolExecutor() as pool:
        for ids in _read(predictor, views, rows, batch):
            some = slice(done, done + len(next(iter(ids.values()))))
            done = some.stop
            true = np.asarray(truth[rows[some]])
            for head, own in ids.items():
                near = pool.map(partial(count_borders, n_classes=sizes[head]), own, true)
                pairs[head][some] = count_ids(torch.from_numpy(own).long(), torch.from_numpy(true), sizes[head]).numpy()
                borders[head][some] = np.stack(list(near))
    assert done == len(rows), f"of {len(rows)} views {done} were read"  # the rest of the counts would be anything
    table = views.samples.iloc[rows].reset_index(drop=True)[IDENTITY]
    columns: dict[str, Any] = {}
    for head, names in predictor.card.classes.items():
        counted = pairs[head]
        hits = np.diagonal(counted, axis1=1, axis2=2)
        for count, pixels in zip(PIXELS, (hits, counted.sum(1) - hits, counted.sum(2) - hits), strict=True):
            columns |= {pixel_column(head, count, name): pixels[:, place] for place, name in enumerate(names)}
        for row, count in enumerate(BORDERS):
            found = borders[head][:, row]
            columns |= {border_column(head, count, name): found[:, place] for place, name in enumerate(names)}
        columns[confusion_column(head)] = list(counted.reshape(-1, sizes[head] ** 2))
    return check_counts(table.join(pd.DataFrame(columns)), predictor.card.classes)


def predict_images(predictor: Predictor, sources: Iterable[Source], batch: int) -> pd.DataFrame:
    """A row for each source: `source`, `error`, and per head the area of each class, as `head.area.class`."""
    rows: list[dict[str, object]] = []
    for answer, _ in look(predictor, sources, Question(1, None, window=False), batch, None):
        rows.append({"source": answer.source, "error": answer.error})
        for head, said in answer.masks.items():
            rows[-1] |= {area_column(head, area.label): area.share for area in said.legend}
    areas = [area_column(head, name) for head, names in predictor.card.classes.items() for name in names]
    table = pd.DataFrame(rows, columns=["source", "error", *areas])
    return table.astype({"source": "string", "error": "string"} | dict.fromkeys(areas, "float64"))


def fit_batch(predictor: Predictor, batch: int) -> int:
    """How many pictures go through the model at once: no more than `batch`, and than memory should hold."""
    return max(1, min(batch, AT_ONCE // predictor.card.images.side**2))


def masks_of(predictor: Predictor, views: "Views", rows: NDArray[np.int64]) -> dict[str, Mask]:
    """The masks uint8 (n, S, S) of all heads for some plain views.

    Raises:
        PredictError: the views have another size than the model's images.
    """
    predictor.check_size(views)
    parts = list(_read(predictor, views, rows, len(rows)))
    empty = np.empty((0, views.size, views.size), np.uint8)
    return {head: np.concatenate([empty, *(part[head] for part in parts)]) for head in predictor.card.classes}


def read_mask(card: HeadCard, mask: Mask, language: str | None) -> MaskAnswer:
    """The answer that a mask is; a class without a name in that language goes by its label."""
    counts = np.bincount(mask.ravel(), minlength=UNSEEN + 1)[: len(card.classes)]
    shares = (counts / max(1, counts.sum())).tolist()
    names = card.names.get(language, {}) if language else {}
    legend = tuple(
        Area(label, names.get(label, label), colour, share)
        for label, colour, share in zip(card.classes, card.colours or [], shares, strict=True)
    )
    areas = sorted((area for area in legend if area.share), key=lambda area: -area.share)
    return MaskAnswer(mask, tuple(areas), legend)


def _masks(predictor: Predictor, pictures: list[Picture]) -> list[dict[str, Mask]]:
    """The masks (H, W) of pictures by head: from windows of the whole ones, if they are there and large."""
    images, look_at = predictor.card.images, partial(predictor.probabilities, decode=decode)
    if all(picture.whole is not None and is_larger(picture.whole, images.side) for picture in pictures):
        return [slide(look_at, np.asarray(picture.whole), images.side) for picture in pictures]
    found = look_at(stack_pixels(pictures))
    return [
        {head: restore(planes[place], *picture.extent, images) for head, planes in found.items()}
        for place, picture in enumerate(pictures)
    ]


def _read(predictor: Predictor, views: "Views", rows: NDArray[np.int64], batch: int) -> Iterator[dict[str, Mask]]:
    """The masks uint8 (n, S, S) of all heads, batch by batch."""
    for pixels in read_views(views, rows, fit_batch(predictor, batch), predictor.resizes):
        yield predictor.likeliest(pixels)


def _check_masks(predictor: Predictor, views: "Views") -> "Parts":
    """The masks (N, S, S) of the views, whose ids mean the same as the model's."""
    if views.masks is None:
        raise PredictError(
            "The views have no masks to compare the model's masks with. Make the views from a source with masks "
            "(`dvc repro`), or predict from the picture files."
        )
    for name, own in predictor.card.heads.items():
        known = views.classes.get(own.head.label)
        if known != own.classes:
            raise PredictError(
                f"The head {name!r} predicts the classes {own.classes}, and the views have {known} of "
                f"{own.head.label!r}. Train it on these views (`dvc repro`), or predict from the picture files."
            )
    return views.masks
