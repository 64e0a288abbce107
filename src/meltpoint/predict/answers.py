"""What a model says of one picture, for people and programs: labels, names, probabilities, the path in the tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meltpoint.errors import UserError
from meltpoint.model.card import Card, HeadCard
from meltpoint.predict.masks import MaskAnswer
from meltpoint.trees import Tree, decide, weigh

Probabilities = Mapping[str, NDArray[np.floating]]  # by head, (N, C)
Ids = NDArray[np.int64]


class PredictError(UserError, ValueError):
    """Images or questions that this model was not made for."""


@dataclass(frozen=True)
class Question:
    """What to tell: so many choices of each head, names in a language (None: labels), masks through windows or not."""

    top: int
    language: str | None
    window: bool


@dataclass(frozen=True)
class Choice:
    """A class, its name in the language asked for, and its probability."""

    label: str
    name: str
    probability: float


@dataclass(frozen=True)
class HeadAnswer:
    """What a head says.

    `top` are its most probable classes, the likeliest first. That is not always the answer: of two classes a head may
    answer by a threshold, and the levels of a tree are decided together. `path` leads from the root of the tree to the
    answer, both included, and is empty for a head that stands in none; there all probabilities are those of the tree,
    the sum over the paths through a class. `unknown`: the head is less sure of this answer than it has to be, or, where
    it was asked for a coverage, another class may be the true one as well.
    """

    label: str
    name: str
    probability: float
    top: tuple[Choice, ...]
    path: tuple[Choice, ...]
    unknown: bool


@dataclass(frozen=True)
class Answer:
    """What a model says of one picture: `heads` by name, none if `error` says why the picture cannot be used.

    `source` is the path or address, None for a picture that has none. `levels` are the heads of the tree from the
    root's to the leaves', empty if the model has none. A head that tells a class of each pixel answers in `masks`.
    """

    source: str | None
    error: str | None
    heads: dict[str, HeadAnswer]
    levels: tuple[str, ...]
    masks: dict[str, MaskAnswer] = field(default_factory=dict)

    @property
    def target(self) -> HeadAnswer | None:
        """What the picture shows, as exactly as the tree tells it: the leaf. None if the picture cannot be used."""
        return self.heads.get(self._level(-1))

    @property
    def overall(self) -> HeadAnswer | None:
        """What the picture shows at large: the answer at the root of the tree. None if the picture cannot be used."""
        return self.heads.get(self._level(0))

    @property
    def alternatives(self) -> tuple[Choice, ...]:
        """What else it may be: the model's own most probable leaves but the target, wherever they stand in the tree."""
        target = self.target
        return tuple(choice for choice in target.top if choice.label != target.label) if target else ()

    def _level(self, place: int) -> str:
        if self.levels:
            return self.levels[place]
        raise PredictError(
            "A target, alternatives and the overall answer are told by a tree, and this model has none. Its heads are "
            f"{list(self.heads)}: look into `heads`, or train with `tree:` in params.yaml."
        )


def check_question(card: Card, question: Question) -> None:
    """Whether a model can answer so.

    Raises:
        PredictError: no number of choices, no head has names in the language, or windows without heads of pixels.
    """
    if question.top < 1:
        raise PredictError(f"top is {question.top}; ask for 1 choice or more.")
    known = sorted({name for head in card.heads.values() for name in head.names})
    if question.language is not None and question.language not in known:
        raise PredictError(
            f"The model has no names in the language {question.language!r}. It has them in: "
            f"{', '.join(known) or 'none'}. Ask for one of these, or for none: classes then go by their labels. Names "
            "come from data.names in params.yaml."
        )
    if question.window and any(head.colours is None for head in card.heads.values()):
        raise PredictError(
            f"Windows are for masks, and the heads {list(card.heads)} tell a class of each picture, which they have to "
            "see whole. Ask without windows."
        )


def read_answers(
    card: Card, tree: Tree | None, probabilities: Probabilities, top: int, language: str | None
) -> list[dict[str, HeadAnswer]]:
    """The answer of each head to each row of the raw probabilities (N, C) of all heads, none of them NaN."""
    chosen = decide(probabilities, card.thresholds, tree)
    shown = weigh(probabilities, tree)
    levels = tree.levels if tree else ()
    path: list[list[Choice]] = []  # of each level so far, the answers to all rows
    columns: dict[str, list[HeadAnswer]] = {}
    for name in [*levels, *(name for name in card.heads if name not in levels)]:
        head, ids = card.heads[name], chosen[name]
        answers = _choices(head, ids, _pick(shown[name], ids), language)
        path += [answers] if name in levels else []
        paths = list(zip(*path, strict=True)) if name in levels else [()] * len(answers)
        likely = _likeliest(head, shown[name], top, language)
        unsure = head.find_unknown(shown[name], ids).tolist()
        columns[name] = [
            HeadAnswer(answer.label, answer.name, answer.probability, *rest)
            for answer, *rest in zip(answers, likely, paths, unsure, strict=True)
        ]
    rows = zip(*(columns[name] for name in card.heads), strict=True)
    return [dict(zip(card.heads, row, strict=True)) for row in rows]


def _pick(probabilities: NDArray[np.floating], ids: Ids) -> NDArray[np.floating]:
    """The probability (N,) of one class of each row."""
    return np.asarray(np.take_along_axis(probabilities, ids[:, None], axis=1)[:, 0])


def _likeliest(
    head: HeadCard, probabilities: NDArray[np.floating], top: int, language: str | None
) -> list[tuple[Choice, ...]]:
    """The `top` most probable classes of each row, of equals the first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]  # (N, top)
    values = np.take_along_axis(probabilities, order, axis=1)
    return [tuple(_choices(head, ids, shares, language)) for ids, shares in zip(order, values, strict=True)]


def _choices(head: HeadCard, ids: Ids, shares: NDArray[np.floating], language: str | None) -> list[Choice]:
    """Class ids and probabilities (N,) as choices; a class without a name in that language goes by its label."""
    names = head.names.get(language, {}) if language else {}
    labels = [head.classes[number] for number in ids.tolist()]
    return [Choice(label, names.get(label, label), share) for label, share in zip(labels, shares.tolist(), strict=True)]
