"""Answers of heads that predict a class for each picture: by threshold, together in the tree, as records and tables."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Pixels, Probabilities
from meltpoint.model.card import Card
from meltpoint.params.heads import Head
from meltpoint.predict.inputs import Source
from meltpoint.predict.predictor import Predictor, read_views
from meltpoint.predict.records import Answer, Choice, HeadAnswer, Question
from meltpoint.tables import IDENTITY, answer_column, check_predictions, label_column, labels_of, probability_columns
from meltpoint.tasks.picture_answers import join_parts, name_choices, read_pictures, run_pictures
from meltpoint.trees import Tree, decide, weigh

if TYPE_CHECKING:
    from torch import Tensor

    from meltpoint.images.views import Views

MASKS = False  # whether answers are masks


def decode(outputs: "Tensor", head: Head) -> "Tensor":
    """Outputs (..., N, K) of a head to probabilities float32 (..., N, C) in class order; rows sum to 1."""
    from meltpoint.tasks.classification.objective import decode  # and torch, which exports do without

    return decode(outputs, head)


def look(
    predictor: Predictor, sources: Source | Iterable[Source], question: Question, batch: int, side: int | None
) -> Iterator[tuple[Answer, Pixels | None]]:
    """The answer to each picture, and the picture itself; see `Answerer.look`."""
    levels = predictor.tree.levels if predictor.tree else ()
    for pictures, found in run_pictures(predictor, sources, batch, side, decode):
        top, language = question.top, question.language
        said = iter(read_answers(predictor.card, predictor.tree, found, top, language) if found else [])
        for picture in pictures:
            yield Answer(picture.source, picture.error, {} if picture.error else next(said), levels), picture.shown


def decide_all(predictor: Predictor, probabilities: Probabilities) -> dict[str, NDArray[Any]]:
    """Class ids int64 (N,) by head, by threshold and together in the tree."""
    return dict(decide(probabilities, predictor.card.thresholds, predictor.tree))


def predict_views(predictor: Predictor, views: "Views", rows: NDArray[np.int64], batch: int) -> pd.DataFrame:
    """The table of `tables.check_predictions` for some plain views."""
    samples = views.samples.iloc[rows].reset_index(drop=True)
    read = read_views(views, rows, batch, predictor.resizes)
    found = join_parts(predictor.card.classes, (predictor.probabilities(pixels, decode) for pixels in read))
    table = samples[IDENTITY].copy()
    for name, own in predictor.card.heads.items():
        needed = {own.head.label} | ({own.head.where.label} if own.head.where else set())
        missing = pd.Series(pd.NA, samples.index, dtype="string")
        table[label_column(name)] = labels_of(samples, own.head) if needed <= set(samples.columns) else missing
    return check_predictions(table.join(_tabulate(predictor, found)), predictor.card.classes)


def predict_images(predictor: Predictor, sources: Iterable[Source], batch: int) -> pd.DataFrame:
    """The table of `Answerer.predict_images`: source, error, answers and probabilities."""
    read, probabilities = read_pictures(predictor, sources, batch, decode)
    return read.join(_tabulate(predictor, probabilities))


def fit_batch(predictor: Predictor, batch: int) -> int:  # noqa: ARG001 - the words of every task
    """How many pictures go through the model at once: `batch`."""
    return batch


def read_answers(
    card: Card, tree: Tree | None, probabilities: Mapping[str, NDArray[np.floating]], top: int, language: str | None
) -> list[dict[str, HeadAnswer]]:
    """The answer of each head to each row of the raw probabilities (N, C) of all heads, none of them NaN."""
    chosen = decide(probabilities, card.thresholds, tree)
    shown = weigh(probabilities, tree)
    levels = tree.levels if tree else ()
    path: list[list[Choice]] = []  # of each level so far, the answers to all rows
    columns: dict[str, list[HeadAnswer]] = {}
    for name in [*levels, *(name for name in card.heads if name not in levels)]:
        head, ids = card.heads[name], chosen[name]
        shares = np.take_along_axis(shown[name], ids[:, None], axis=1)[:, 0]  # of the answers
        answers = name_choices(head, ids, shares, language)
        path += [answers] if name in levels else []
        paths = list(zip(*path, strict=True)) if name in levels else [()] * len(answers)
        order = np.argsort(-shown[name], axis=1, kind="stable")[:, :top]  # (N, top), of equals the first
        values = np.take_along_axis(shown[name], order, axis=1)
        likely = [tuple(name_choices(head, *row, language)) for row in zip(order, values, strict=True)]
        unsure = head.find_unknown(shown[name], ids).tolist()
        columns[name] = [
            HeadAnswer(answer.label, answer.name, answer.probability, *rest)
            for answer, *rest in zip(answers, likely, paths, unsure, strict=True)
        ]
    rows = zip(*(columns[name] for name in card.heads), strict=True)
    return [dict(zip(card.heads, row, strict=True)) for row in rows]


def _tabulate(predictor: Predictor, probabilities: Probabilities) -> pd.DataFrame:
    """The columns with the answers and the probabilities of all heads."""
    answers = decide(probabilities, predictor.card.thresholds, predictor.tree)
    tables = []
    for head, classes in predictor.card.classes.items():
        table = pd.DataFrame(probabilities[head], columns=probability_columns(head, classes))
        said = pd.Series(np.array(classes, dtype=object)[answers[head]], dtype="string")
        table.insert(0, answer_column(head), said.mask(np.isnan(probabilities[head][:, 0])))
        tables.append(table)
    return pd.concat(tables, axis=1)
