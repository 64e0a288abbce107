"""A saved model that answers: a predictor, together with the task that makes answers of what it gives."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Pictures, Pixels, Probabilities
from meltpoint.model.card import Card
from meltpoint.predict.inputs import Source, is_single
from meltpoint.predict.predictor import BATCH, Predictor, open_predictor
from meltpoint.predict.records import Answer, Question, check_question
from meltpoint.predict.word_list import Word, check_words
from meltpoint.tasks.contract import AnswerPart, load_answer
from meltpoint.terminal import heard, warn

if TYPE_CHECKING:  # the store of views brings in what augments them, which a served model does without
    from meltpoint.images.views import Views


@dataclass(frozen=True, eq=False)
class Answerer:
    """What `meltpoint.load` gives: pictures in, answers out. `doubts`: sentences on words that it was given."""

    predictor: Predictor
    task: AnswerPart
    doubts: tuple[str, ...] = ()

    @property
    def card(self) -> Card:
        """What the model says of itself."""
        return self.predictor.card

    @property
    def levels(self) -> tuple[str, ...]:
        """The heads of its tree from the root's to the leaves', empty if it has none."""
        return self.predictor.tree.levels if self.predictor.tree else ()

    @property
    def predicts_masks(self) -> bool:
        """Whether its answers are masks."""
        return self.task.MASKS

    @property
    def takes_any_size(self) -> bool:
        """Whether it is an export that takes pictures as they were decoded, and resizes them by itself."""
        return self.predictor.resizes

    def with_words(
        self,
        words: Sequence[Word | str],
        tags: bool = False,
        prompts: str | Sequence[str] | None = None,
        text: Path | None = None,
        threshold: float | None = None,
    ) -> "Answerer":
        """The same model, answering with one of these words, or with `tags` with each that is likely by itself.

        `prompts`: what words are put into, "short", "openai" or texts with {}; None: nothing, or what the model's own
        were. `text` is where the text side of the encoder is, if it is not where it was when the model was trained.
        `threshold` is that of tags that have none of their own; None: 0.5. RAM answers in tags without `tags`, too.
        Words that say nothing to the text side are told on standard error, and stand in `doubts`.

        Raises:
            WordListError: no word, or one twice.
            TextError: the encoder has no text side that can be had, or a word is nothing to it.
        """
        from meltpoint.tasks.words import word_predictor  # and torch, which exports do without

        listed = [
            word if word.threshold is not None else replace(word, threshold=threshold) for word in check_words(words)
        ]
        with heard() as doubts:
            predictor = word_predictor(self.predictor, listed, tags, prompts, text)
        for doubt in doubts:
            warn(doubt)
        return Answerer(predictor, load_answer(predictor.card.task), tuple(doubts))

    def predict(
        self, source: Source | Iterable[Source], top: int = 5, language: str | None = None, window: bool = False
    ) -> Answer | list[Answer]:
        """The answer to a picture; of a list or a folder a list of answers, in order.

        A picture is a path, an http(s) address, the bytes of a file, a Pillow image, or an array uint8 (H, W, 3) RGB or
        (H, W) grey. Each head gives its `top` choices, by their names in `language` (None: as labels). A picture that
        cannot be used has its reason as `error`. `window`: pictures larger than those of the training are looked at
        part by part for their masks, not scaled down. `stream` does the same for more pictures than a list should hold.

        Raises:
            PredictError: no picture, an array of another kind, a language without names, windows without masks.
        """
        answers = list(self.stream(source, top, language, window=window))
        return answers[0] if is_single(source) else answers

    def stream(
        self,
        sources: Source | Iterable[Source],
        top: int = 5,
        language: str | None = None,
        batch: int = BATCH,
        window: bool = False,
    ) -> Iterator[Answer]:
        """The answers to pictures and folders of pictures as they come, in order; see `predict`.

        The next pictures are decoded meanwhile. Memory does not grow with their number.

        Raises:
            PredictError: see `predict`.
        """
        for answer, _ in self.look(sources, Question(top, language, window), batch, None):
            yield answer

    def look(
        self, sources: Source | Iterable[Source], question: Question, batch: int, side: int | None
    ) -> Iterator[tuple[Answer, Pixels | None]]:
        """Like `stream`, each with the picture itself, uint8 (H, W, 3), its sides no longer than `side`."""
        check_question(self.card, question, self.predicts_masks)
        return self.task.look(self.predictor, sources, question, batch, side)

    def probabilities(self, images: Pictures) -> dict[str, NDArray[np.float32]]:
        """Images uint8 (N, S, S, 3) of the card's size, N >= 1, to raw probabilities float32 of each head.

        (N, C) of a class of each image, (N, C, S, S) of a class of each pixel. An export that resizes takes images of
        any size, too, as an array (N, H, W, 3) or one after the other.
        """
        return self.predictor.probabilities(images, self.task.decode)

    def decide(self, probabilities: Probabilities) -> dict[str, NDArray[Any]]:
        """What `probabilities` gives to the answer of each head, by threshold and tree.

        Class ids int64 (N,), of tags whether each is given bool (N, K), masks uint8 (N, S, S).
        """
        return self.task.decide_all(self.predictor, probabilities)

    def fit_batch(self, batch: int) -> int:
        """How many pictures go through the model at once where `batch` are asked for: pixels take memory."""
        return self.task.fit_batch(self.predictor, batch)

    def predict_views(self, views: "Views", splits: Sequence[str], batch: int) -> pd.DataFrame:
        """Predictions of the plain views of some splits, split by split, sorted by id.

        Their columns are those of `tables.check_predictions`, and of masks those of `tables.check_counts`.

        Raises:
            PredictError: the views have another size than the model's images, or no masks that a model of them needs.
        """
        self.predictor.check_size(views)
        rows = np.concatenate([views.rows(split) for split in splits])
        return self.task.predict_views(self.predictor, views, rows, batch)

    def predict_repeats(
        self, folder: Path, views: "Views", splits: Sequence[str], batch: int
    ) -> Iterator[tuple[Card, pd.DataFrame]]:
        """Card and predictions of the repeats 2 to n in `folder`, in order; see `open_repeats` and `predict_views`."""
        from meltpoint.predict.repeat_predictors import open_repeats

        for repeat in open_repeats(self.predictor, folder):
            yield repeat.card, replace(self, predictor=repeat).predict_views(views, splits, batch)

    def predict_images(self, sources: Iterable[Source], batch: int) -> pd.DataFrame:
        """A row for each source, in order: `source`, `error`, and per head its answer and its raw probabilities.

        A picture that cannot be used has its reason in `error`, which is missing elsewhere, no answers, and NaN as
        probabilities. Of a head of pixels there is the area of each class. The next pictures are decoded meanwhile;
        memory does not grow with their number, but for the table.
        """
        return self.task.predict_images(self.predictor, sources, batch)


def open_answerer(folder: Path) -> Answerer:
    """Open a model folder; neither its pretrained weights nor a network are needed. See `open_exported`, too.

    Raises:
        ModelError: the folder holds no model that can be used.
        TreeError: the tree of its card is none.
    """
    predictor = open_predictor(folder)
    return Answerer(predictor, load_answer(predictor.card.task))
