"""What is exported: pixels in, probabilities of every head out, preprocessing and the task's decode inside."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from meltpoint.model.card import Card
from meltpoint.model.fuse import fuse
from meltpoint.model.model import Model, load_model
from meltpoint.params.heads import Head

Decode = Callable[[Tensor, Head], Tensor]


class Graph(nn.Module):
    """Images uint8 (N, S, S, 3) to probabilities float32 of each head, in the card's order."""

    def __init__(self, model: Model, card: Card, decode: Decode) -> None:
        super().__init__()
        self.model, self.decode = model, decode
        self.head_params = {name: own.head for name, own in card.heads.items()}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """A tuple of (N, K), of dense heads (N, K, S, S)."""
        outputs = self.model(images)
        return tuple(self.decode(outputs[name], head) for name, head in self.head_params.items())


def build_graph(model: Path, decode: Decode) -> tuple[Graph, Card]:
    """The graph of a model folder in eval mode on the CPU, without gradients, convolution and batch norm folded.

    Raises:
        ModelError, ManifestError: the folder holds no model that can be used.
    """
    loaded, card = load_model(model)
    return Graph(fuse(loaded), card, decode).eval().requires_grad_(False), card
