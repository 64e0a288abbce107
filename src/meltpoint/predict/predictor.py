"""A saved model as a forward pass with its preprocessing: pictures and stored views in, raw outputs out.

Torch is imported where it is used: exports that do without it are answered without it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import AnySize, Mask, Pictures, Pixels, Probabilities
from meltpoint.images.decode import decode
from meltpoint.model.card import Card
from meltpoint.params.heads import Head
from meltpoint.predict.inputs import Picture, Source, expand, read_picture
from meltpoint.predict.records import PredictError
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track
from meltpoint.trees import Tree, build_tree

if TYPE_CHECKING:  # the store of views brings in what augments them, which a served model does without
    import torch

    from meltpoint.images.views import Views
    from meltpoint.model.model import Model

Made = TypeVar("Made")
WAITING = 8  # whole pictures that may wait in memory
BATCH = 32  # pictures through the model at once, by default


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model in eval mode on the best device there is, its BatchNorm folded away; `parameters` counts those saved.

    Of an export there is no model and no device, but `exported`: images to probabilities; if it `resizes`, they have
    any size. `tree` is that of the card:
    which classes of which heads are below which. It knows no task: the task of its card, which is given the predictor,
    says what its outputs mean.
    """

    card: Card
    model: "Model | None"
    tree: Tree | None
    folder: Path
    parameters: int
    device: "torch.device | None"
    exported: AnySize | None = None
    resizes: bool = False
    turn: Lock = field(default_factory=Lock, repr=False)  # who works with the model has all cores

    @property
    def network(self) -> "Model":
        """The model as torch has it.

        Raises:
            PredictError: this is an export, of which nobody sees the inside.
        """
        if self.model is None:
            raise PredictError(
                f"{self.folder} is an export: it gives probabilities, and its network cannot be used for anything else."
                f" Give the model that it was made of, as models/{self.card.strategy}."
            )
        return self.model

    def on_cpu(self) -> "Predictor":
        """The same on the CPU, where exports run anyway."""
        import torch

        cpu = torch.device("cpu")
        return self if self.model is None else replace(self, model=self.model.to(cpu), device=cpu)

    def outputs(self, images: Pictures) -> "Mapping[str, torch.Tensor]":
        """Images uint8 (N, S, S, 3) of the card's size, N >= 1, to the raw outputs of each head, on the device."""
        import torch

        from meltpoint.model.inference import infer

        assert self.device is not None, "only an export has none"
        assert isinstance(images, np.ndarray), "only exports take pictures of any size"
        return infer(self.network, torch.from_numpy(images), self.device)

    def probabilities(self, images: Pictures, decode: "Callable[[torch.Tensor, Head], torch.Tensor]") -> Probabilities:
        """Images uint8 (N, S, S, 3), N >= 1, to what `decode` makes of the outputs of each head.

        Of an export that resizes they may also be (N, H, W, 3), or several (H, W, 3), one after the other.
        """
        if self.exported is not None:  # it decodes by itself
            return self.exported(images)
        heads = self.card.heads
        return {name: decode(own, heads[name].head).cpu().numpy() for name, own in self.outputs(images).items()}

    def likeliest(self, images: Pictures) -> dict[str, Mask]:
        """Images uint8 (N, S, S, 3), N >= 1, to the likeliest class uint8 (N, S, S) of each pixel, of dense heads."""
        if self.exported is not None:
            return {name: own.argmax(1).astype(np.uint8) for name, own in self.exported(images).items()}
        outputs = self.outputs(images)  # (N, C, S, S): the largest logit is the largest probability
        return {name: own.argmax(1).byte().cpu().numpy() for name, own in outputs.items()}

    def run(
        self,
        sources: Source | Iterable[Source],
        work: Callable[[list[Picture]], Made],
        batch: int,
        side: int | None,
        whole: bool,
    ) -> Iterator[tuple[list[Picture], Made | None]]:
        """Batches of pictures (see `read_picture`), and what `work` makes of those that are no error; None if all are.

        Threads decode two batches ahead. The work is done one batch ahead, never two at once, also of several runs.
        """
        read = partial(read_picture, card=self.card, side=side, whole=whole, as_is=self.resizes)
        batch = 1 if self.resizes else batch  # each has its own size
        pictures = map_ahead(read, expand(sources), 2 * batch, None)
        batches = iter(lambda: list(islice(pictures, batch)), [])

        def work_on_good(some: list[Picture]) -> tuple[list[Picture], Made | None]:
            good = [picture for picture in some if picture.error is None]
            with self.turn:
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
    from meltpoint.model.fuse import fuse
    from meltpoint.model.inference import inference_device
    from meltpoint.model.model import load_model

    model, card = load_model(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    device = inference_device()
    return Predictor(card, fuse(model).to(device), tree_of(card), folder, parameters, device)


def tree_of(card: Card) -> Tree | None:
    """Which classes of which heads are below which; None if the card has no tree.

    Raises:
        TreeError: the tree of the card is none.
    """
    return build_tree(card.tree.levels, card.tree.parents, card.classes) if card.tree else None


def read_views(
    views: "Views", rows: NDArray[np.int64], batch: int, whole: bool = False
) -> Iterator[Pixels | Iterator[Pixels]]:
    """Plain views (n, S, S, 3) in the order of `rows`.

    Of `whole` ones the pictures that they were made of instead, (H, W, 3), one after the other, where there are some.
    """
    read = views.read_file if whole else None

    def decoded(path: str) -> Pixels:
        assert read is not None
        return decode(read(path), float("inf"), views.depths, path)

    with track(range(0), "predict", total=len(rows)) as bar:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            if read is not None:
                yield map_ahead(decoded, views.samples["path"].iloc[some].tolist(), WAITING, None)
            else:
                yield views.plain.read(some)
            bar.update(len(some))
