"""A saved model that answers: for stored views, or for pictures decoded and resized as in training."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from meltpoint.images.decode import Pixels
from meltpoint.model.card import Card
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.model import Model, load_model
from meltpoint.predict.answers import Answer, PredictError, Question, check_question
from meltpoint.predict.geometry import Mask
from meltpoint.predict.sources import Picture, Source, expand, is_single, read_picture
from meltpoint.prefetch import map_ahead
from meltpoint.trees import Tree, build_tree, decide

if TYPE_CHECKING:  # the store of views brings in what augments them, which a served model does without
    from meltpoint.images.views import Views

Probabilities = dict[str, NDArray[np.float32]]  # by head, (N, C), or (N, C, S, S) where it is of pixels
Made = TypeVar("Made")
Seen = tuple[Answer, Pixels | None]
BATCH = 32  # pictures through the model at once, where nobody says another number


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model in eval mode on the best device there is, its BatchNorm folded away; `parameters` counts those saved.

    `tree` is that of the card: which classes of which heads are below which. What answers are made of depends on the
    task: its part answer.py.
    """

    card: Card
    model: Model
    tree: Tree | None
    folder: Path
    parameters: int
    device: torch.device

    @property
    def _task(self) -> ModuleType:
        return import_module(f"meltpoint.tasks.{self.card.task}.answer")

    def predict(
        self, source: Source | Iterable[Source], top: int = 5, language: str | None = None, window: bool = False
    ) -> Answer | list[Answer]:
        """The answer to a picture; of a list or a folder a list of answers, in order.

        A picture is a path, an http(s) address, the bytes of a file, a Pillow image, or an array uint8 (H, W, 3) RGB or
        (H, W) grey. `top` choices are told of each head, by their names in `language` (None: as labels). A picture that
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
    ) -> Iterator[Seen]:
        """Like `stream`, each with the picture itself, uint8 (H, W, 3), its sides no longer than `side`."""
        check_question(self.card, question)
        return cast(Iterator[Seen], self._task.look(self, sources, question, batch, side))

    def outputs(self, images: Pixels) -> Mapping[str, torch.Tensor]:
        """Images uint8 (N, S, S, 3) of the card's size, N >= 1, to the raw outputs of each head, on the device."""
        return infer(self.model, torch.from_numpy(images), self.device)

    def probabilities(self, images: Pixels) -> Probabilities:
        """Images uint8 (N, S, S, 3) of the card's size, N >= 1, to raw probabilities float32 of each head.

        (N, C) of a class of each image, (N, C, S, S) of a class of each pixel.
        """
        task = import_module(f"meltpoint.tasks.{self.card.task}.objective")
        outputs = self.outputs(images)
        return {head: task.decode(values, self.card.heads[head].head).cpu().numpy() for head, values in outputs.items()}

    def fit_batch(self, batch: int) -> int:
        """How many pictures go through the model at once where `batch` are asked for: pixels take memory."""
        return cast(int, self._task.fit_batch(self, batch))

    def decide(self, probabilities: Probabilities) -> dict[str, NDArray[np.int64]]:
        """The answers int64 (N,) of the heads to their raw probabilities: by threshold, and together in the tree."""
        return decide(probabilities, self.card.thresholds, self.tree)

    def predict_views(self, views: "Views", splits: Sequence[str], batch: int) -> pd.DataFrame:
        """Predictions of the plain views of some splits, split by split, sorted by id.

        Their columns are those of `tables.check_predictions`, and of masks those of `tables.check_counts`.

        Raises:
            PredictError: the views have another size than the model's images, or no masks that a model of them needs.
        """
        self._check_size(views)
        rows = np.concatenate([views.rows(split) for split in splits])
        return cast(pd.DataFrame, self._task.predict_views(self, views, rows, batch))

    def masks_of(self, views: "Views", rows: NDArray[np.int64]) -> dict[str, Mask]:
        """The masks uint8 (n, S, S) of the heads of pixels to the plain views of some rows.

        Raises:
            PredictError: the views have another size than the model's images, or the model tells no masks.
        """
        self._check_size(views)
        return cast(dict[str, Mask], self._task.masks_of(self, views, rows))

    def predict_images(self, sources: Iterable[Source], batch: int) -> pd.DataFrame:
        """A row for each source, in order: `source`, `error`, and per head its answer and its raw probabilities.

        A picture that cannot be used has its reason in `error`, which is missing elsewhere, no answers, and NaN as
        probabilities. Of a head of pixels there is the area of each class. The next pictures are decoded meanwhile;
        memory does not grow with their number, but for the table.
        """
        return cast(pd.DataFrame, self._task.predict_images(self, sources, batch))

    def run(
        self,
        sources: Source | Iterable[Source],
        work: Callable[[list[Picture]], Made],
        batch: int,
        side: int | None,
        whole: bool,
    ) -> Iterator[tuple[list[Picture], Made | None]]:
        """Batches of pictures (see `read_picture`), and what `work` makes of those that are no error; None if all are.

        Threads decode two batches ahead. The work is done one batch ahead, never two at once.
        """
        read = partial(read_picture, card=self.card, side=side, whole=whole)
        batches = _in_batches(map_ahead(read, expand(sources), 2 * batch, None), batch)
        return map_ahead(partial(_work_on_good, work), batches, 1, 1)

    def _check_size(self, views: "Views") -> None:
        if views.size != self.card.images.side:
            raise PredictError(
                f"The views are {views.size} pixels wide, and the model takes {self.card.images.side}. Train it on"
                " these views (`dvc repro`), or predict from the picture files."
            )


def open_predictor(folder: Path) -> Predictor:
    """Open a model folder; neither its pretrained weights nor a network are needed.

    Raises:
        ModelError: the folder holds no model that can be used.
        TreeError: the tree of its card is none.
    """
    model, card = load_model(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    device = inference_device()
    tree = build_tree(card.tree.levels, card.tree.parents, card.classes) if card.tree else None
    return Predictor(card, fuse(model).to(device), tree, folder, parameters, device)


def _work_on_good(work: Callable[[list[Picture]], Made], pictures: list[Picture]) -> tuple[list[Picture], Made | None]:
    good = [picture for picture in pictures if picture.error is None]
    return pictures, work(good) if good else None


def _in_batches(pictures: Iterator[Picture], batch: int) -> Iterator[list[Picture]]:
    while some := list(islice(pictures, batch)):
        yield some
