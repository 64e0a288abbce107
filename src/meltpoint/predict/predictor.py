"""A saved model that answers: for stored views, or for pictures decoded and resized as in training."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from meltpoint.images.decode import Pixels
from meltpoint.model.card import Card
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.model import Model, load_model
from meltpoint.predict.ahead import map_ahead
from meltpoint.predict.answers import Answer, PredictError, check_question, read_answers
from meltpoint.predict.sources import Picture, Source, expand, is_single, read_picture
from meltpoint.progress import track
from meltpoint.tables import answer_column, check_predictions, label_column, labels_of, probability_columns
from meltpoint.trees import Tree, build_tree, decide

if TYPE_CHECKING:  # the store of views brings in what augments them, which a served model does without
    from meltpoint.images.views import Views

Probabilities = dict[str, NDArray[np.float32]]  # by head, (N, C)
BATCH = 32  # pictures through the model at once, where nobody says another number


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model in eval mode on the best device there is, its BatchNorm folded away; `parameters` counts those saved.

    `tree` is that of the card: which classes of which heads are below which.
    """

    card: Card
    model: Model
    tree: Tree | None
    folder: Path
    parameters: int
    device: torch.device

    def predict(
        self, source: Source | Iterable[Source], top: int = 5, language: str | None = None
    ) -> Answer | list[Answer]:
        """The answer to a picture; of a list or a folder a list of answers, in order.

        A picture is a path, an http(s) address, the bytes of a file, a Pillow image, or an array uint8 (H, W, 3) RGB or
        (H, W) grey. `top` choices are told of each head, by their names in `language` (None: as labels). A picture that
        cannot be used has its reason as `error`. `stream` does the same for more pictures than a list should hold.

        Raises:
            PredictError: no picture, an array of another kind, or a language without names.
        """
        answers = list(self.stream(source, top, language))
        return answers[0] if is_single(source) else answers

    def stream(
        self, sources: Source | Iterable[Source], top: int = 5, language: str | None = None, batch: int = BATCH
    ) -> Iterator[Answer]:
        """The answers to pictures and folders of pictures as they come, in order; see `predict`.

        The next pictures are decoded meanwhile. Memory does not grow with their number.

        Raises:
            PredictError: see `predict`.
        """
        check_question(self.card, top, language)
        for answer, _ in self.look(sources, top, language, batch, None):
            yield answer

    def look(
        self, sources: Source | Iterable[Source], top: int, language: str | None, batch: int, side: int | None
    ) -> Iterator[tuple[Answer, Pixels | None]]:
        """Like `stream`, each with the picture itself, uint8 (H, W, 3), its sides no longer than `side`."""
        levels = self.tree.levels if self.tree else ()
        for pictures, probabilities in self._run(sources, batch, side):
            good = np.array([picture.error is None for picture in pictures])
            some = {head: values[good] for head, values in probabilities.items()}
            said = iter(read_answers(self.card, self.tree, some, top, language))
            for picture in pictures:
                heads = {} if picture.error else next(said)
                yield Answer(picture.source, picture.error, heads, levels), picture.shown

    def probabilities(self, images: Pixels) -> Probabilities:
        """Images uint8 (N, S, S, 3) of the card's size, N >= 1, to raw probabilities float32 (N, C) of each head."""
        task = import_module(f"meltpoint.task.{self.card.task}")
        outputs = infer(self.model, torch.from_numpy(images), self.device)
        return {head: task.decode(values, self.card.heads[head].head).cpu().numpy() for head, values in outputs.items()}

    def decide(self, probabilities: Probabilities) -> dict[str, NDArray[np.int64]]:
        """The answers int64 (N,) of the heads to their raw probabilities: by threshold, and together in the tree."""
        return decide(probabilities, self.card.thresholds, self.tree)

    def predict_views(self, views: "Views", splits: Sequence[str], batch: int) -> pd.DataFrame:
        """Predictions (`tables.check_predictions`) of the plain views of some splits, split by split, sorted by id.

        Raises:
            PredictError: the views have another size than the model's images.
        """
        if views.size != self.card.images.size:
            raise PredictError(
                f"The views are {views.size} pixels wide, and the model takes {self.card.images.size}. Train it on"
                " these views (`dvc repro`), or predict from the picture files."
            )
        rows = np.concatenate([views.rows(split) for split in splits])
        samples = views.samples.iloc[rows].reset_index(drop=True)
        parts = [self.probabilities(pixels) for pixels in _read(views, rows, batch)]
        table = samples[["id", "path", "split"]].copy()
        for name, own in self.card.heads.items():
            needed = {own.head.label} | ({own.head.where.label} if own.head.where else set())
            known = needed <= set(samples.columns)
            missing = pd.Series(pd.NA, samples.index, dtype="string")
            table[label_column(name)] = labels_of(samples, own.head) if known else missing
        return check_predictions(table.join(self._tabulate(parts)), self.card.classes)

    def predict_images(self, sources: Iterable[Source], batch: int) -> pd.DataFrame:
        """A row for each source, in order: `source`, `error`, and per head its answer and its raw probabilities.

        A picture that cannot be used has its reason in `error`, which is missing elsewhere, no answers, and NaN as
        probabilities. The next pictures are decoded meanwhile; memory does not grow with their number, but for the
        table.
        """
        names: list[str | None] = []
        errors: list[str | None] = []
        parts: list[Probabilities] = []
        for pictures, probabilities in self._run(sources, batch, None):
            names += [picture.source for picture in pictures]
            errors += [picture.error for picture in pictures]
            parts.append(probabilities)
        told = pd.DataFrame({"source": pd.array(names, dtype="string"), "error": pd.array(errors, dtype="string")})
        return told.join(self._tabulate(parts))

    def _run(
        self, sources: Source | Iterable[Source], batch: int, side: int | None
    ) -> Iterator[tuple[list[Picture], Probabilities]]:
        """Batches of pictures with their probabilities; threads decode two batches ahead, the model runs one ahead."""
        read = partial(read_picture, card=self.card, side=side)
        batches = _in_batches(map_ahead(read, expand(sources), 2 * batch, None), batch)
        return map_ahead(self._predict_some, batches, 1, 1)

    def _predict_some(self, pictures: list[Picture]) -> tuple[list[Picture], Probabilities]:
        """Probabilities of some pictures, NaN for those that are an error."""
        good = [number for number, picture in enumerate(pictures) if picture.pixels is not None]
        shape = {head: (len(pictures), len(names)) for head, names in self.card.classes.items()}
        found = {head: np.full(size, np.nan, np.float32) for head, size in shape.items()}
        if good:
            answers = self.probabilities(np.stack([np.asarray(pictures[number].pixels) for number in good]))
            for head, values in answers.items():
                found[head][good] = values
        return pictures, found

    def _tabulate(self, parts: list[Probabilities]) -> pd.DataFrame:
        """The columns with the answers and the probabilities of all heads."""
        whole = {
            head: np.concatenate([np.empty((0, len(classes)), np.float32), *(part[head] for part in parts)])
            for head, classes in self.card.classes.items()
        }
        answers = self.decide(whole)
        tables = []
        for head, classes in self.card.classes.items():
            table = pd.DataFrame(whole[head], columns=probability_columns(head, classes))
            said = pd.Series(np.array(classes, dtype=object)[answers[head]], dtype="string")
            table.insert(0, answer_column(head), said.mask(np.isnan(whole[head][:, 0])))
            tables.append(table)
        return pd.concat(tables, axis=1)


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


def _in_batches(pictures: Iterator[Picture], batch: int) -> Iterator[list[Picture]]:
    while some := list(islice(pictures, batch)):
        yield some


def _read(views: "Views", rows: NDArray[np.int64], batch: int) -> Iterator[Pixels]:
    """Plain views (n, S, S, 3) in the order of `rows`; mapped anew each time, or pages seen would count as memory."""
    file = cast("np.memmap[Any, Any]", views.plain).filename
    assert file is not None
    with track(range(0), "predict", total=len(rows)) as bar:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            yield np.load(file, mmap_mode="r")[some]
            bar.update(len(some))
