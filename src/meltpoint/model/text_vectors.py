"""Vectors of texts, and of what several texts say together: a class by its names and descriptions, a word by itself."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from meltpoint.errors import UserError

BATCH = 64  # texts at once, of like lengths
SHOWN = 60  # letters of a text in a message


class TextError(UserError, ValueError):
    """There is no text side, or a text cannot be made a vector."""


class TextEncoder(Protocol):
    """The text side of an encoder."""

    @property
    def scale(self) -> float:
        """By what it was taught to multiply likenesses before a softmax."""
        ...

    @property
    def limit(self) -> int:
        """How many tokens a text may have."""
        ...

    def count(self, texts: Sequence[str], /) -> list[tuple[int, int]]:
        """Of each text how many tokens it has, and how many of them the encoder knows; both without start and end."""
        ...

    def encode(self, texts: Sequence[str], /) -> Tensor:
        """Texts that are not too long to their vectors float32 (N, D), of any length."""
        ...


def embed_texts(encoder: TextEncoder, texts: Sequence[str]) -> Tensor:
    """Texts to vectors float32 (N, D) of length 1.

    Raises:
        TextError: a text says nothing to the encoder, or is too long for it: none is cut.
    """
    counts = encoder.count(texts)
    for text, (tokens, known) in zip(texts, counts, strict=True):
        if not known:
            what = "only signs that it does not know" if tokens else "nothing"
            raise TextError(
                f"The text {text[:SHOWN]!r} is {what} to the text encoder. Write words that it knows; most know"
                " English."
            )
        if tokens > encoder.limit:
            raise TextError(
                f"The text {text[:SHOWN]!r}... has {tokens} tokens, and the text encoder reads {encoder.limit}. Shorten"
                " it, or divide it into sentences: nothing is cut off in silence."
            )
    order = sorted(range(len(texts)), key=lambda place: counts[place])
    vectors: list[Tensor] = [torch.empty(0)] * len(texts)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            encoded = normalize(encoder.encode([texts[place] for place in some]).float(), dim=1)
            for place, vector in zip(some, encoded, strict=True):
                vectors[place] = vector
    return torch.stack(vectors).clone()


def embed_words(encoder: TextEncoder, words: Mapping[str, Sequence[str]]) -> Tensor:
    """The texts of each word, one or more, to its vector float32 (N, D): the mean of theirs, of length 1 again.

    As zero-shot classifiers are made of CLIP (Radford et al.: Learning Transferable Visual Models From Natural Language
    Supervision, ICML 2021, section 3.1.4).

    Raises:
        TextError: a text cannot be embedded; two words have the same texts; there is no word.
    """
    if not words:
        raise TextError("There are no words. Give one at least.")
    seen: dict[tuple[str, ...], str] = {}
    for word, texts in words.items():
        other = seen.setdefault(tuple(" ".join(text.casefold().split()) for text in texts), word)
        if other != word:
            raise TextError(
                f"{other!r} and {word!r} say the same, {texts[0][:SHOWN]!r}, so that no picture could be told to be one"
                " and not the other. Give each a name of its own, or a description."
            )
    flat = list(dict.fromkeys(text for texts in words.values() for text in texts))
    places, vectors = {text: place for place, text in enumerate(flat)}, embed_texts(encoder, flat)
    means = [vectors[[places[text] for text in texts]].mean(0) for texts in words.values()]
    return normalize(torch.stack(means), dim=1)
