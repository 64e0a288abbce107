"""Answers of heads that tell a class of each picture: by threshold, together in the tree, as tables."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.images.decode import Pixels
from meltpoint.predict.answers import Answer, PredictError, Question, read_answers
from meltpoint.predict.geometry import Mask
from meltpoint.predict.reading import read_views
from meltpoint.predict.sources import Picture, Source, stack_pixels
from meltpoint.tables import (
    IDENTITY,
    answer_column,
    check_predictions,
    label_column,
    labels_of,
    probability_columns,
)

if TYPE_CHECKING:
    from meltpoint.images.views import Views
    from meltpoint.predict.predictor import Predictor, Probabilities


def look(
    predictor: "Predictor", sources: Source | Iterable[Source], question: Question, batch: int, side: int | None
) -> Iterator[tuple[Answer, Pixels | None]]:
    """The answer to each picture, and the picture itself; see `Predictor.look`."""
    levels = predictor.tree.levels if predictor.tree else ()
    for pictures, found in _run(predictor, sources, batch, side):
        top, language = question.top, question.language
        said = iter(read_answers(predictor.card, predictor.tree, found, top, language) if found else [])
        for picture in pictures:
            yield Answer(picture.source, picture.error, {} if picture.error else next(said), levels), picture.shown


def predict_views(predictor: "Predictor", views: "Views", rows: NDArray[np.int64], batch: int) -> pd.DataFrame:
    """The table of `tables.check_predictions` for some plain views."""
    samples = views.samples.iloc[rows].reset_index(drop=True)
    parts = [predictor.probabilities(pixels) for pixels in read_views(views, rows, batch)]
    table = samples[IDENTITY].copy()
    for name, own in predictor.card.heads.items():
        needed = {own.head.label} | ({own.head.where.label} if own.head.where else set())
        known = needed <= set(samples.columns)
        missing = pd.Series(pd.NA, samples.index, dtype="string")
        table[label_column(name)] = labels_of(samples, own.head) if known else missing
    return check_predictions(table.join(_tabulate(predictor, parts)), predictor.card.classes)


def predict_images(predictor: "Predictor", sources: Iterable[Source], batch: int) -> pd.DataFrame:
    """The table of `Predictor.predict_images`: source, error, answers and probabilities."""
    names: list[str | None] = []
    errors: list[str | None] = []
    parts: list[Probabilities] = []
    for pictures, found in _run(predictor, sources, batch, None):
        names += [picture.source for picture in pictures]
        errors += [picture.error for picture in pictures]
        parts.append(_spread(predictor, found, np.array([picture.error is None for picture in pictures])))
    told = pd.DataFrame({"source": pd.array(names, dtype="string"), "error": pd.array(errors, dtype="string")})
    return told.join(_tabulate(predictor, parts))


def fit_batch(predictor: "Predictor", batch: int) -> int:  # noqa: ARG001 - the words of every task
    """How many pictures go through the model at once: `batch`."""
    return batch


def masks_of(predictor: "Predictor", views: "Views", rows: NDArray[np.int64]) -> dict[str, Mask]:  # noqa: ARG001
    """There are none.

    Raises:
        PredictError: always.
    """
    raise PredictError(
        f"The heads {list(predictor.card.heads)} tell a class of each picture, no masks. Ask a model whose task is "
        "segmentation."
    )


def _run(
    predictor: "Predictor", sources: Source | Iterable[Source], batch: int, side: int | None
) -> Iterator[tuple[list[Picture], "Probabilities | None"]]:
    """Batches of pictures, and the probabilities of those that are no error."""

    def work(good: list[Picture]) -> "Probabilities":
        return predictor.probabilities(stack_pixels(good))

    return predictor.run(sources, work, batch, side, whole=False)


def _spread(predictor: "Predictor", found: "Probabilities | None", good: NDArray[np.bool_]) -> "Probabilities":
    """Probabilities of the good ones of some pictures, NaN for the others."""
    whole = {}
    for head, names in predictor.card.classes.items():
        whole[head] = np.full((len(good), len(names)), np.nan, np.float32)
        if found:
            whole[head][good] = found[head]
    return whole


def _tabulate(predictor: "Predictor", parts: list["Probabilities"]) -> pd.DataFrame:
    """The columns with the answers and the probabilities of all heads."""
    whole = {
        head: np.concatenate([np.empty((0, len(classes)), np.float32), *(part[head] for part in parts)])
        for head, classes in predictor.card.classes.items()
    }
    answers = predictor.decide(whole)
    tables = []
    for head, classes in predictor.card.classes.items():
        table = pd.DataFrame(whole[head], columns=probability_columns(head, classes))
        said = pd.Series(np.array(classes, dtype=object)[answers[head]], dtype="string")
        table.insert(0, answer_column(head), said.mask(np.isnan(whole[head][:, 0])))
        tables.append(table)
    return pd.concat(tables, axis=1)
