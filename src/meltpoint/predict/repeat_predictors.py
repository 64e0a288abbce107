"""The models that were trained with other seeds as predictors, one after the other."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from meltpoint.model.fuse import fuse
from meltpoint.model.model import Model
from meltpoint.model.repeat_delta import list_repeats, load_repeat
from meltpoint.predict.predictor import Predictor
from meltpoint.terminal import say

MOST = 5 * 10**8  # bytes of features that are kept for the next repeat


class Recalling(Model):
    """A model whose backbone runs once over each image, together with all others that share `memory`.

    Their backbones have to be equal. The memory has features by the images' own bytes, as far as they fit into `MOST`.
    """

    def __init__(self, model: Model, memory: dict[bytes, dict[str, Tensor]]) -> None:
        nn.Module.__init__(self)
        self.backbone, self.heads, self.head_taps, self.memory = model.backbone, model.heads, model.head_taps, memory

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Images uint8 (N, S, S, 3) to features float (N, *spec.shape) for each tap key, from memory if they are there.

        Computed features and those from memory are equal to the bit.
        """
        key = hashlib.sha256(images.cpu().contiguous().numpy().data).digest()
        if key in self.memory:
            return self.memory[key]
        found = super().features(images)
        if sum(value.nbytes for own in (found, *self.memory.values()) for value in own.values()) <= MOST:
            self.memory[key] = found
        return found


def open_repeats(first: Predictor, folder: Path) -> Iterator[Predictor]:
    """The predictors of the repeats 2 to n in `folder`, in order, one at a time.

    `first` is the predictor of the model that they repeat. Frozen backbones are equal: they run once for all of them.

    Raises:
        ModelError, ManifestError: a repeat is missing or damaged, or belongs to another model.
    """
    repeats, memory = list_repeats(folder), dict[bytes, dict[str, Tensor]]()
    for number, path in enumerate(repeats, start=2):
        say(f"repeat {number} of {len(repeats) + 1}")
        repeat = load_repeat(path, first.folder)
        model = fuse(repeat.model).to(first.device or "cpu")
        shown = Recalling(model, memory).eval() if repeat.keeps_backbone else model
        yield replace(first, card=repeat.card, model=shown, folder=path)
