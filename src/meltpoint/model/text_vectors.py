"""Vectors of texts, and of what several texts say together: a class by its names and descriptions, a word by itself."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from meltpoint.errors import UserError
from meltpoint.terminal import warn

BATCH = 64  # texts at once, of like lengths
SHOWN = 60  # letters of a text in a message
NAMED = 5  # words in a message
PLAIN = "photograph"  # in tokens of several letters, or all that the encoder reads is spelled
BLANKS = "▁Ġ"  # the blank before a word, as tokenizers write it


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

    def spell(self, word: str, /) -> list[str]:
        """The letters that each token of a word stands for: none for a sign that it lacks, or for part of a letter."""
        ...

    def encode(self, texts: Sequence[str], /) -> Tensor:
        """Texts that are not too long to their vectors float32 (N, D), of any length."""
        ...


def embed_texts(encoder: TextEncoder, texts: Sequence[str]) -> Tensor:
    """Texts to vectors float32 (N, D) of length 1; words that say nothing to the encoder are told.

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
    if unknown := find_unknown(encoder, texts):
        words = "words say" if len(unknown) > 1 else "word says"
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        warn(
            f"{len(unknown)} {words} next to nothing to the text encoder, which lacks the signs or spells them one by"
            f" one: {', '.join(repr(word[:SHOWN]) for word in unknown[:NAMED])}{more}. Answers that hang on them mean"
            " little. Write words that it knows; most know English."
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


def find_unknown(encoder: TextEncoder, texts: Sequence[str]) -> list[str]:
    """The words of texts that an encoder takes apart, in order: under half of their letters are in tokens of several.

    A letter that is wide in Unicode, as of Chinese, stands for a syllable or a word, and may be a token by itself. An
    encoder that spells English, too, reads letters: nothing is known of its words. What it makes of whole words that
    it was never taught is not seen here. Measured in docs/words.md.
    """
    words = dict.fromkeys(word for text in texts for word in _words_of(text))
    unknown = [word for word in words if not _is_whole(encoder, word)]
    return unknown if unknown and _is_whole(encoder, PLAIN) else []


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


def _words_of(text: str) -> list[str]:
    """The runs of letters, of three and more, or with a wide one; shorter ones are often abbreviations."""
    runs = (
        "".join(run) for is_word, run in groupby(text, lambda sign: unicodedata.category(sign)[0] in "LM") if is_word
    )
    return [run for run in runs if len(run) > 2 or any(map(_is_wide, run))]


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) == "W"


def _is_whole(encoder: TextEncoder, word: str) -> bool:
    """Whether half of a word, at least, is in tokens of several letters, or of a wide one."""
    pieces = encoder.spell(word)
    return 2 * sum(len(piece) for piece in pieces if len(piece) > 1 or (piece and _is_wide(piece))) >= len(word)


def spell_with(tokenizer: Any, word: str) -> list[str]:
    """See `TextEncoder.spell`, by a tokenizer of `transformers`; one that does not say where tokens stand: the word."""
    if not tokenizer.is_fast:
        return [word]
    told = tokenizer(word, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans = [
        range(*span)
        for token, span in zip(told["input_ids"], told["offset_mapping"], strict=True)
        if token != tokenizer.unk_token_id and tokenizer.convert_ids_to_tokens(token).strip(BLANKS)
    ]
    shared = Counter(place for span in spans for place in span)  # of a letter in bytes by several tokens
    return [word[span.start : span.stop] if all(shared[place] == 1 for place in span) else "" for span in spans]
