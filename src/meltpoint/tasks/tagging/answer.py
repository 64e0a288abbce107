"""Answers of heads of tags: those above their threshold, as records and tables."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Pixels, Probabilities
from meltpoint.model.card import HeadCard
from meltpoint.params.heads import Head
from meltpoint.predict.inputs import Source
from meltpoint.predict.predictor import Predictor, read_views
from meltpoint.predict.records import Answer, Question, TagsAnswer
from meltpoint.tables import (
    IDENTITY,
    answer_column,
    check_predictions,
    label_column,
    probability_columns,
    say_tags,
)
from meltpoint.tasks.picture_answers import join_parts, name_choices, read_pictures, run_pictures
from meltpoint.tasks.tagging.tag_thresholds import given

if TYPE_CHECKING:
    from torch import Tensor

    from meltpoint.images.views import Views

MASKS = False  # whether answers are masks


def decode(outputs: "Tensor", head: Head) -> "Tensor":
    """Outputs (..., N, K) of a head to probabilities float32 (..., N, K) of tags, each by itself."""
    from meltpoint.tasks.tagging.objective import decode  # and torch, which exports do without

    return decode(outputs, head)


def look(
    predictor: Predictor, sources: Source | Iterable[Source], question: Question, batch: int, side: int | None
) -> Iterator[tuple[Answer, Pixels | None]]:
    """The answer to each picture, and the picture itself; see `Answerer.look`."""
    for pictures, found in run_pictures(predictor, sources, batch, side, decode):
        rows = iter(range(len(pictures)))
        for picture in pictures:
            said: dict[str, TagsAnswer] = {}
            if picture.error is None and found is not None:
                row = next(rows)
                said = {
                    name: read_answer(card, found[name][row], question.top, question.language)
                    for name, card in predictor.card.heads.items()
                }
            yield Answer(picture.source, picture.error, {}, (), tags=said), picture.shown


def decide_all(predictor: Predictor, probabilities: Probabilities) -> dict[str, NDArray[Any]]:
    """Whether each tag is given, bool (N, K) by head."""
    heads = predictor.card.heads
    return {head: given(own, heads[head].thresholds) for head, own in probabilities.items()}


def predict_views(predictor: Predictor, views: "Views", rows: NDArray[np.int64], batch: int) -> pd.DataFrame:
    """The table of `tables.check_predictions` for some plain views; labels and answers are those of `say_tags`."""
    samples = views.samples.iloc[rows].reset_index(drop=True)
    read = read_views(views, rows, batch, predictor.resizes)
    found = join_parts(predictor.card.classes, (predictor.probabilities(pixels, decode) for pixels in read))
    table = samples[IDENTITY].copy()
    for name, own in predictor.card.heads.items():
        missing = pd.Series(pd.NA, samples.index, dtype="string")
        table[label_column(name)] = samples.get(own.head.label, missing)
    return check_predictions(table.join(_tabulate(predictor, found)), predictor.card.classes)


def predict_images(predictor: Predictor, sources: Iterable[Source], batch: int) -> pd.DataFrame:
    """The table of `Answerer.predict_images`: source, error, tags and probabilities."""
    read, probabilities = read_pictures(predictor, sources, batch, decode)
    return read.join(_tabulate(predictor, probabilities))


def fit_batch(predictor: Predictor, batch: int) -> int:  # noqa: ARG001 - the words of every task
    """How many pictures go through the model at once: `batch`."""
    return batch


def read_answer(card: HeadCard, shares: NDArray[np.float32], top: int, language: str | None) -> TagsAnswer:
    """The answer that probabilities (K,) are; a tag without a name in that language goes by its label."""
    order = np.argsort(-shares, kind="stable")  # of equals the first
    given_ids, likely = order[given(shares[None], card.thresholds)[0][order]], order[:top]
    return TagsAnswer(
        tags=tuple(name_choices(card, given_ids, shares[given_ids], language)),
        top=tuple(name_choices(card, likely, shares[likely], language)),
    )


def _tabulate(predictor: Predictor, probabilities: Probabilities) -> pd.DataFrame:
    """The columns with the tags and the probabilities of all heads."""
    tables = []
    for head, card in predictor.card.heads.items():
        shares = probabilities[head]
        chosen, names = given(shares, card.thresholds), np.array(card.classes, dtype=object)
        said = pd.Series([say_tags(names[row]) for row in chosen], dtype="string")
        table = pd.DataFrame(shares, columns=probability_columns(head, card.classes))
        table.insert(0, answer_column(head), said.mask(np.isnan(shares[:, 0])))
        tables.append(table)
    return pd.concat(tables, axis=1)
