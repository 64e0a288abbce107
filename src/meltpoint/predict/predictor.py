"""A saved model as a forward pass with its preprocessing: pictures and stored views in, raw outputs out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from meltpoint.arrays import Pixels
from meltpoint.model.card import Card
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer, inference_device
from meltpoint.model.model import Model, load_model
from meltpoint.params.heads import Head
from meltpoint.predict.inputs import Picture, Source, expand, read_picture
from meltpoint.predict.records import PredictError
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track
from meltpoint.trees import Tree, build_tree

if TYPE_CHECKING:  # the store of views brings in what augments them, which a served model does without
    from meltpoint.images.views import Views

Made = TypeVar("Made")
BATCH = 32  # pictures through the model at once, by default


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model in eval mode on the best device there is, its BatchNorm folded away; `parameters` counts those saved.

    `tree` is that of the card: which classes of which heads are below which. It knows no task: the task of its card,
    which is given the predictor, says what its outputs mean.
    """

    card: Card
    model: Model
    tree: Tree | None
    folder: Path
    parameters: int
    device: torch.device

    def outputs(self, images: Pixels) -> Mapping[str, torch.Tensor]:
        """Images uint8 (N, S, S, 3) of the card's size, N >= 1, to the raw outputs of each head, on the device."""
        return infer(self.model, torch.from_numpy(images), self.device)

    def probabilities(
        self, images: Pixels, decode: Callable[[torch.Tensor, Head], torch.Tensor]
    ) -> dict[str, NDArray[np.float32]]:
        """Images uint8 (N, S, S, 3), N >= 1, to what `decode` makes of the outputs of each head."""
        heads = self.card.heads
        return {name: decode(own, heads[name].head).cpu().numpy() for name, own in self.outputs(images).items()}

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
        pictures = map_ahead(read, expand(sources), 2 * batch, None)
        batches = iter(lambda: list(islice(pictures, batch)), [])

        def work_on_good(some: list[Picture]) -> tuple[list[Picture], Made | None]:
            good = [picture for picture in some if picture.error is None]
            return some, work(good) if good else None

        return map_ahead(work_on_good, batches, 1, 1)

    def check_size(self, views: "Views") -> None:
        """Whether views are as large as the model's images.

        Raises:
            PredictError: they are not.
        """
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


def read_views(views: "Views", rows: NDArray[np.int64], batch: int) -> Iterator[Pixels]:
    """Plain views (n, S, S, 3) in the order of `rows`; mapped again for each batch, or pages read count as memory."""
    file = cast("np.memmap[Any, Any]", views.plain).filename
    assert file is not None
    with track(range(0), "predict", total=len(rows)) as bar:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            yield np.load(file, mmap_mode="r")[some]
            bar.update(len(some))
