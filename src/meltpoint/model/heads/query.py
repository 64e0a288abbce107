"""Head `query`: a vector for each class asks the cells of the last map by cross-attention, as in RAM and Query2Label.

Zhang et al.: Recognize Anything, 2023 (section 3.2); Liu et al.: Query2Label, 2021. The layers are BERT's without
self-attention: cross-attention, dense, norm; dense, GELU, dense, norm. The mean over the cells stands before them.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from meltpoint.model.backbones import Backbone, tap_key
from meltpoint.model.class_vectors import embed_names, find_vectors
from meltpoint.model.standardise import Standardise
from meltpoint.params.heads import QueryHead
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.queries import TextQueries

EPSILON = 1e-12  # of the norms, as in BERT
WIDER = 4  # times the width: the hidden layer after attention


def build(head: QueryHead, backbone: Backbone, n_outputs: int) -> nn.Sequential:
    """Maps float (N, C, h, w) to outputs float (N, n_outputs); vectors of classes are drawn."""
    channels = backbone.specs[tap_key(head.reads)].channels
    return nn.Sequential(Standardise(channels), QueryDecoder(channels, head, n_outputs))


def begin(head: QueryHead, module: nn.Sequential, encoder: BackboneParams, classes: Sequence[str]) -> None:
    """Give a built head the vectors of its classes, as `queries` say; without them they stay drawn.

    Raises:
        TagListError, TextError: as `find_vectors` says.
    """
    if head.queries is not None:
        _fill(module, find_vectors(head.queries, encoder, classes, head.vectors))


def ask(
    head: QueryHead,
    module: nn.Sequential,
    encoder: BackboneParams,
    words: Sequence[str],
    prompts: str | Sequence[str] | None,
    text: Path | None,
) -> nn.Module | None:
    """The head asking for other words than it was trained on; None: no text encoder made its vectors.

    Raises:
        TextError: as `embed_names` says.
    """
    if not isinstance(head.queries, TextQueries):
        return None
    queries = head.queries if prompts is None else head.queries.model_copy(update={"prompts": prompts})
    asking = copy.deepcopy(module)
    _fill(asking, embed_names(queries, encoder, words, head.vectors, text))
    return asking


def _fill(module: nn.Sequential, vectors: Tensor) -> None:
    decoder = cast(QueryDecoder, module[-1])
    given = vectors.to(decoder.vectors)
    decoder.vectors = nn.Parameter(given) if isinstance(decoder.vectors, nn.Parameter) else given


class QueryDecoder(nn.Module):
    """`vectors` (K, D) of classes become queries; tokens of the image are its mean and its cells, brought to D.

    They learn like the other weights, unless `queries` are fixed.
    """

    vectors: Tensor

    def __init__(self, channels: int, head: QueryHead, n_outputs: int) -> None:
        super().__init__()
        vectors = F.normalize(torch.randn(n_outputs, head.vectors), dim=1)
        if head.queries is not None and head.queries.fixed:
            self.register_buffer("vectors", vectors)
        else:
            self.vectors = nn.Parameter(vectors)
        self.query = nn.Linear(head.vectors, head.hidden)
        self.image = nn.Linear(channels, head.vectors)
        self.layers = nn.ModuleList(_Layer(head.hidden, head.vectors, head.attention_heads) for _ in range(head.layers))
        self.output = nn.Linear(head.hidden, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps float (N, C, h, w) to logits float (N, K)."""
        cells = maps.flatten(2).mT  # (N, h * w, C)
        tokens = self.image(torch.cat([cells.mean(1, keepdim=True), cells], 1))
        queries = F.relu(self.query(self.vectors)).expand(maps.shape[0], -1, -1)  # (N, K, hidden)
        for layer in self.layers:
            queries = layer(queries, tokens)
        return torch.squeeze(self.output(queries), -1)


class _Layer(nn.Module):
    def __init__(self, width: int, given: int, attention_heads: int) -> None:
        super().__init__()
        self.attention_heads = attention_heads
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(given, width), nn.Linear(given, width)
        self.attended, self.attended_norm = nn.Linear(width, width), nn.LayerNorm(width, EPSILON)
        self.up, self.down = nn.Linear(width, WIDER * width), nn.Linear(WIDER * width, width)
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        parts = (self.query(queries), self.key(tokens), self.value(tokens))
        query, key, value = (part.unflatten(-1, (self.attention_heads, -1)).transpose(-3, -2) for part in parts)
        shares = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)  # (N, heads, K, tokens); written out for `vmap`
        seen = (shares @ value).transpose(-3, -2).flatten(-2)
        attended = self.attended_norm(self.attended(seen) + queries)
        return torch.as_tensor(self.norm(self.down(F.gelu(self.up(attended))) + attended))
