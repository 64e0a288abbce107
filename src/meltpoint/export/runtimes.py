"""What formats for other runtimes share: packages that are extras, and programs for one image at a time."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Forward, Pixels, Probabilities
from meltpoint.export.folder import ExportError
from meltpoint.model.card import Card

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Imports of packages that only the extra `name` installs; `what` needs them.

    Raises:
        ExportError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExportError(
            f"{what} needs the package {error.name}, which is not installed. Install the extra: pip install"
            f" -e '.[{name}]'"
        ) from None


def reason_of(error: BaseException) -> str:
    """Why a converter or a runtime gave up, in a line: the first error says more than those that were raised of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def separate(graph: "nn.Module") -> "nn.Module":
    """The same graph, each of its tensors contiguous in memory of its own: of parts of others torch warns."""
    import torch

    for tensor in (*graph.parameters(), *graph.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return graph


def trace_one(graph: "nn.Module", card: Card) -> "ExportedProgram":
    """The program of a graph for one image (1, S, S, 3). Its weights are contiguous: other runtimes take no others.

    What depends on no image, as the weights that scale maps up, is calculated here: LiteRT has no step to make it.
    """
    import torch
    from torch.fx.experimental.const_fold import split_const_subgraphs

    plain, side = separate(copy.deepcopy(graph)), card.images.side
    example = (torch.zeros(1, side, side, 3, dtype=torch.uint8),)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node|Failed to fetch module")  # and does both
        folded = split_const_subgraphs(torch.export.export(plain, example).module())
        folded.run_folding()
        return torch.export.export(separate(folded), example)


def free_sizes(card: Card, resize: bool) -> tuple[tuple["Tensor"], tuple[dict[int, Any]]]:
    """Images to trace a program with, and their axes that are free: how many; with `resize` height and width, too."""
    import torch

    side = card.images.side
    height, width = (side + 3, side + 5) if resize else (side, side)
    free = {axis: torch.export.Dim(name) for axis, name in enumerate("nhw" if resize else "n")}
    return (torch.zeros(2, height, width, 3, dtype=torch.uint8),), (free,)


def one_by_one(answer: Callable[[Pixels], Sequence[NDArray[np.float32]]], card: Card) -> Forward:
    """The forward pass of a runtime whose `answer` to an image (1, S, S, 3) is what each head gives, in order."""

    def forward(images: Pixels) -> Probabilities:
        found = [answer(np.ascontiguousarray(images[at : at + 1])) for at in range(len(images))]
        return {name: np.concatenate(own) for name, own in zip(card.heads, zip(*found, strict=True), strict=True)}

    return forward
