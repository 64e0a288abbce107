"""A saved model that answers: for stored views, or for picture files decoded and resized as in training."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from meltpoint.errors import UserError
from meltpoint.images.decode import ImageError, Pixels, decode
from meltpoint.images.resize import resize
from meltpoint.model.card import Card
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.model import Model, load_model
from meltpoint.progress import track
from meltpoint.tables import check_predictions, label_column, probability_columns

if TYPE_CHECKING:  # the store of views brings in what augments them, which a served model does without
    from meltpoint.images.views import Views

Source = Path | bytes  # a picture file, or what is in one
Probabilities = dict[str, NDArray[np.float32]]  # by head, (N, C)


class PredictError(UserError, ValueError):
    """Images that this model was not made for."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model in eval mode on the best device there is, its BatchNorm folded away; `parameters` counts those saved."""

    card: Card
    model: Model
    folder: Path
    parameters: int
    device: torch.device

    def probabilities(self, images: Pixels) -> Probabilities:
        """Images uint8 (N, S, S, 3) of the card's size, N >= 1, to probabilities float32 (N, C) of each head."""
        task = import_module(f"meltpoint.task.{self.card.task}")
        outputs = infer(self.model, torch.from_numpy(images), self.device)
        return {head: task.decode(values).cpu().numpy() for head, values in outputs.items()}

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
        for name, head in self.card.heads.items():
            missing = pd.Series(pd.NA, samples.index, dtype="string")
            table[label_column(name)] = samples.get(head.head.label, missing)
        return check_predictions(table.join(self._tabulate(parts)), self.card.classes)

    def predict_images(self, sources: Iterable[Source], batch: int) -> pd.DataFrame:
        """A row for each source, in order: `source` (the path), `error`, and the probabilities of each head.

        A picture that cannot be used has its reason in `error`, which is missing elsewhere, and NaN as probabilities.
        The next pictures are decoded meanwhile; memory does not grow with their number, but for the table.
        """
        names: list[str | None] = []
        errors: list[str | None] = []
        parts: list[Probabilities] = []
        pictures = _decode_ahead(_noted(sources, names), self.card, 2 * batch)
        while some := list(islice(pictures, batch)):
            errors += [picture if isinstance(picture, str) else None for picture in some]
            parts.append(self._predict_some(some))
        told = pd.DataFrame({"source": pd.array(names, dtype="string"), "error": pd.array(errors, dtype="string")})
        return told.join(self._tabulate(parts))

    def _predict_some(self, pictures: list[Pixels | str]) -> Probabilities:
        """Probabilities of some pictures, NaN for those that are an error."""
        good = [number for number, picture in enumerate(pictures) if not isinstance(picture, str)]
        shape = {head: (len(pictures), len(names)) for head, names in self.card.classes.items()}
        found = {head: np.full(size, np.nan, np.float32) for head, size in shape.items()}
        if good:
            answers = self.probabilities(np.stack([np.asarray(pictures[number]) for number in good]))
            for head, values in answers.items():
                found[head][good] = values
        return found

    def _tabulate(self, parts: list[Probabilities]) -> pd.DataFrame:
        """The probability columns of all heads."""
        tables = []
        for head, classes in self.card.classes.items():
            empty = np.empty((0, len(classes)), np.float32)
            values = np.concatenate([empty, *(part[head] for part in parts)])
            tables.append(pd.DataFrame(values, columns=probability_columns(head, classes)))
        return pd.concat(tables, axis=1)


def open_predictor(folder: Path) -> Predictor:
    """Open a model folder; neither its pretrained weights nor a network are needed.

    Raises:
        ModelError: the folder holds no model that can be used.
    """
    model, card = load_model(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    device = inference_device()
    return Predictor(card, fuse(model).to(device), folder, parameters, device)


def _read(views: "Views", rows: NDArray[np.int64], batch: int) -> Iterator[Pixels]:
    """Plain views (n, S, S, 3) in the order of `rows`; mapped anew each time, or pages seen would count as memory."""
    file = cast("np.memmap[Any, Any]", views.plain).filename
    assert file is not None
    with track(range(0), "predict", total=len(rows)) as bar:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            yield np.load(file, mmap_mode="r")[some]
            bar.update(len(some))


def _noted(sources: Iterable[Source], names: list[str | None]) -> Iterator[Source]:
    """The sources as they come, their paths noted in `names`."""
    for source in sources:
        names.append(None if isinstance(source, bytes) else str(source))
        yield source


def _decode_ahead(sources: Iterable[Source], card: Card, ahead: int) -> Iterator[Pixels | str]:
    """Pictures uint8 (S, S, 3) in order, or why there is none; threads decode at most `ahead` of them in advance."""
    with ThreadPoolExecutor() as pool:
        waiting: deque[Future[Pixels | str]] = deque()
        for source in sources:
            waiting.append(pool.submit(_decode, source, card))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(source: Source, card: Card) -> Pixels | str:
    try:
        return resize(decode(source, card.max_megapixels), card.images)
    except ImageError as error:
        return error.reason
