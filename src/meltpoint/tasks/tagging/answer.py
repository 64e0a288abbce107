"""Answers of heads of tags: those above their threshold, as records and tables."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Ints, Pixels
from meltpoint.model.card import HeadCard
from meltpoint.predict.inputs import Picture, Source, stack_pixels
from meltpoint.predict.predictor import Predictor, read_views
from meltpoint.predict.records import Answer, Choice, Question, TagsAnswer
from meltpoint.tables import (
    IDENTITY,
    answer_column,
    check_predictions,
    label_column,
    probability_columns,
    say_tags,
)
from meltpoint.tasks.tagging.objective import decode
from meltpoint.tasks.tagging.tag_thresholds import given

if TYPE_CHECKING:
    from meltpoint.images.views import Views

MASKS = False  # whether answers are masks

Probabilities = dict[str, NDArray[np.float32]]  # by head, (N, K)


def look(
    predictor: Predictor, sources: Source | Iterable[Source], question: Question, batch: int, side: int | None
) -> Iterator[tuple[Answer, Pixels | None]]:
    """The answer to each picture, and the picture itself; see `Answerer.look`."""
    for pictures, found in _run(predictor, sources, batch, side):
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


def predict_views(predictor: Predictor, views: "Views", rows: NDArray[np.int64], batch: int) -> pd.DataFrame:
    """The table of `tables.check_predictions` for some plain views; labels and answers are those of `say_tags`."""
    samples = views.samples.iloc[rows].reset_index(drop=True)
    parts = [predictor.probabilities(pixels, decode) for pixels in read_views(views, rows, batch)]
    table = samples[IDENTITY].copy()
    for name, own in predictor.card.heads.items():
        missing = pd.Series(pd.NA, samples.index, dtype="string")
        table[label_column(name)] = samples.get(own.head.label, missing)
    return check_predictions(table.join(_tabulate(predictor, parts)), predictor.card.classes)


def predict_images(predictor: Predictor, sources: Iterable[Source], batch: int) -> pd.DataFrame:
    """The table of `Answerer.predict_images`: source, error, tags and probabilities."""
    names: list[str | None] = []
    errors: list[str | None] = []
    parts: list[Probabilities] = []
    for pictures, found in _run(predictor, sources, batch, None):
        names += [picture.source for picture in pictures]
        errors += [picture.error for picture in pictures]
        good = np.array([picture.error is None for picture in pictures])
        parts.append({})
        for head, classes in predictor.card.classes.items():
            parts[-1][head] = np.full((len(good), len(classes)), np.nan, np.float32)
            if found:
                parts[-1][head][good] = found[head]
    sources_read = pd.DataFrame({"source": pd.array(names, dtype="string"), "error": pd.array(errors, dtype="string")})
    return sources_read.join(_tabulate(predictor, parts))


def fit_batch(predictor: Predictor, batch: int) -> int:  # noqa: ARG001 - the words of every task
    """How many pictures go through the model at once: `batch`."""
    return batch


def read_answer(card: HeadCard, shares: NDArray[np.float32], top: int, language: str | None) -> TagsAnswer:
    """The answer that probabilities (K,) are; a tag without a name in that language goes by its label."""
    order = np.argsort(-shares, kind="stable")  # of equals the first
    chosen = given(shares[None], card.thresholds)[0]
    return TagsAnswer(
        tags=_choices(card, order[chosen[order]], shares, language),
        top=_choices(card, order[:top], shares, language),
    )


def _choices(card: HeadCard, ids: Ints, shares: NDArray[np.float32], language: str | None) -> tuple[Choice, ...]:
    names = card.names.get(language, {}) if language else {}
    labels = [card.classes[number] for number in ids.tolist()]
    return tuple(
        Choice(label, names.get(label, label), share) for label, share in zip(labels, shares[ids].tolist(), strict=True)
    )


def _run(
    predictor: Predictor, sources: Source | Iterable[Source], batch: int, side: int | None
) -> Iterator[tuple[list[Picture], Probabilities | None]]:
    """Batches of pictures, and the probabilities of those that are no error."""
    return predictor.run(
        sources, lambda good: predictor.probabilities(stack_pixels(good), decode), batch, side, whole=False
    )


def _tabulate(predictor: Predictor, parts: list[Probabilities]) -> pd.DataFrame:
    """The columns with the tags and the probabilities of all heads."""
    tables = []
    for head, card in predictor.card.heads.items():
        shares = np.concatenate([np.empty((0, len(card.classes)), np.float32), *(part[head] for part in parts)])
        chosen, names = given(shares, card.thresholds), np.array(card.classes, dtype=object)
        said = pd.Series([say_tags(names[row]) for row in chosen], dtype="string")
        table = pd.DataFrame(shares, columns=probability_columns(head, card.classes))
        table.insert(0, answer_column(head), said.mask(np.isnan(shares[:, 0])))
        tables.append(table)
    return pd.concat(tables, axis=1)
