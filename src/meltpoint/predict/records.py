"""What a model answers for one picture, as records: classes with their probabilities, masks, or why there are none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.errors import UserError
from meltpoint.model.card import Card, HeadCard

if TYPE_CHECKING:
    from meltpoint.predict.fonts import Fonts
    from meltpoint.predict.inputs import Source


DIGITS = 6  # of a probability or a share that is written


class PredictError(UserError, ValueError):
    """Images or questions that this model was not made for."""


@dataclass(frozen=True)
class Question:
    """What is asked for: choices of each head, names in a language (None: labels), masks through windows or not."""

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
class Area:
    """A class, its name in the language asked for, its colour as "#rrggbb", and its share of the pixels seen."""

    label: str
    name: str
    colour: str
    share: float


@dataclass(frozen=True, eq=False)
class MaskAnswer:
    """What a head says: `mask` uint8 (H, W) in the picture's own size, class ids, 255 where the model was not shown it.

    `areas` are the classes that occur, the largest first. `legend` are all classes, in the order of their ids.
    """

    mask: NDArray[np.uint8]
    areas: tuple[Area, ...]
    legend: tuple[Area, ...]


@dataclass(frozen=True)
class TagsAnswer:
    """What a head of tags says: `tags` are those above their threshold, `top` the likeliest; both by probability."""

    tags: tuple[Choice, ...]
    top: tuple[Choice, ...]


@dataclass(frozen=True)
class Answer:
    """What a model says of one picture: `heads` by name, none if `error` says why the picture cannot be used.

    `source` is the path or address, None for a picture that has none. `levels` are the heads of the tree from the
    root's to the leaves', empty if the model has none. A head that predicts a class for each pixel answers in `masks`,
    one that gives tags in `tags`.
    """

    source: str | None
    error: str | None
    heads: dict[str, HeadAnswer]
    levels: tuple[str, ...]
    masks: dict[str, MaskAnswer] = field(default_factory=dict)
    tags: dict[str, TagsAnswer] = field(default_factory=dict)

    @property
    def target(self) -> HeadAnswer | None:
        """What the picture shows, as exactly as the tree can say it: the leaf. None if the picture cannot be used."""
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
            "A target, alternatives and the overall answer need a tree, and this model has none. Its heads are "
            f"{list(self.heads)}: look into `heads`, or train with `tree:` under `task:` in params.yaml."
        )


class Answering(Protocol):
    """A model together with its task: what answers pictures (see `tasks.answerer`)."""

    @property
    def card(self) -> Card:
        """What the model says of itself."""

    @property
    def levels(self) -> tuple[str, ...]:
        """The heads of its tree from the root's to the leaves', empty if it has none."""

    @property
    def predicts_masks(self) -> bool:
        """Whether its answers are masks."""

    @property
    def takes_any_size(self) -> bool:
        """Whether it takes pictures as they were decoded, and resizes them by itself."""

    def look(
        self, sources: "Source | Iterable[Source]", question: Question, batch: int, side: int | None
    ) -> Iterator[tuple[Answer, Pixels | None]]:
        """The answer to each picture, and the picture itself, uint8 (H, W, 3), its sides no longer than `side`."""


class DisplayPart(Protocol):
    """How the answers of a task are shown to people and programs: its part display.py. No torch."""

    def line(self, answer: Answer, featured: str) -> str:
        """A line to read; the head `featured` with its alternatives."""

    def describe(self, answer: Answer) -> dict[str, Any]:
        """What each head says, as plain values for JSON."""

    def columns(self, card: Card, top: int) -> dict[str, type]:
        """The columns of a table of answers and what their cells are, without source and error."""

    def cells(self, answer: Answer) -> dict[str, object]:
        """The cells of an answer by column."""

    def draw(self, shown: Pixels, answer: Answer, featured: str, fonts: "Sequence[Fonts]", steady: bool) -> Image.Image:
        """The picture uint8 (H, W, 3) with its answer; `fonts` are of `fonts.SIZES`.

        `steady`: drawings of pictures of one size are of one size, as far as can be.
        """

    def masks(self, answer: Answer) -> dict[str, bytes]:
        """A PNG of the mask of each head that predicts one."""

    def served_columns(self, heads: Mapping[str, HeadCard]) -> dict[str, str]:
        """The columns of a served answer and their MLflow types."""

    def served_cells(self, card: Card, answer: Answer) -> dict[str, Any]:
        """The cells of a served answer by column."""

    def flatten(self, answer: Answer) -> dict[str, float | str]:
        """What is compared with later answers, by flat names: probabilities, and masks as base64 text of a PNG."""


def check_question(card: Card, question: Question, masks: bool) -> None:
    """Whether a model can answer so.

    Raises:
        PredictError: no number of choices, no head has names in the language, or windows without masks.
    """
    if question.top < 1:
        raise PredictError(f"top is {question.top}; ask for 1 choice or more.")
    known = sorted({name for head in card.heads.values() for name in head.names})
    if question.language is not None and question.language not in known:
        raise PredictError(
            f"The model has no names in the language {question.language!r}. It has them in: "
            f"{', '.join(known) or 'none'}. Choose one of these, or none: classes are then shown by their labels. "
            "Names come from data.names in params.yaml."
        )
    if question.window and not masks:
        raise PredictError(
            f"Windows are for masks, and the heads {list(card.heads)} predict one class for the whole picture. Leave "
            "out the window option."
        )
