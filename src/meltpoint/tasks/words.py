"""A saved model that answers in other words than it was trained on, by the text side of its encoder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from meltpoint.model.card import HeadCard
from meltpoint.model.heads.cosine import Cosine
from meltpoint.model.library import open_text
from meltpoint.model.model import Model, ask_head, build_heads
from meltpoint.model.prompts import fill_prompts
from meltpoint.model.text_vectors import TextError, embed_texts, embed_words
from meltpoint.params.heads import CosineHead, Head
from meltpoint.predict.predictor import Predictor
from meltpoint.predict.word_list import SECOND, Word

HEAD = "words"
ANYTHING = "something"  # what a tag has to be likelier than
HALF = 0.5  # the probability above which a tag is given unless it says another


def word_predictor(
    predictor: Predictor, words: Sequence[Word], tags: bool, prompts: str | Sequence[str] | None, text: Path | None
) -> Predictor:
    """The same encoder under one head, whose classes are the words.

    A main head whose kind asks for words, as RAM's, is asked for these, and its answers are of the kind they were. Else
    without `tags` exactly one of the words is the answer: a softmax over likenesses times the encoder's own scale. With
    them each word is one by itself: the probability that the picture is that and not just "something". `text` is where
    the encoder's text side is, None: where the card says.

    Raises:
        PredictError: it is an export, which answers in the words that it was made with.
        TextError: the encoder has no text side, it cannot be had, the model does not give what words are compared with,
            or a word cannot be embedded.
    """
    card, backbone = predictor.card, predictor.network.backbone
    main, module = card.heads[card.main_head].head, predictor.network.heads[card.main_head]
    asking = ask_head(main, module, card.backbone, [word.name for word in words], prompts, text)
    if asking is not None:
        return _answer_in(predictor, words, card.task, main, asking)
    encoder = open_text(card.backbone, text)
    if "final" not in backbone.specs:
        raise TextError(
            f"The heads {list(card.heads)} of this model read {list(backbone.specs)}, and words are compared with what"
            " the encoder gives at its end. Use a model with a head whose tap is final, as the strategy words makes it."
        )
    if len(words) < 2 and not tags:
        raise TextError(f"One word, {words[0].name!r}, would always be the answer. Give more, or ask for --tags.")
    vectors = encoder.scale * embed_words(encoder, {word.name: fill_prompts(prompts, word.name) for word in words})
    if tags:
        weights = vectors - encoder.scale * embed_texts(encoder, fill_prompts(prompts, ANYTHING)).mean(0, keepdim=True)
    else:
        weights = vectors if len(words) > 2 else vectors[1:] - vectors[:1]  # of two one output is the difference
    params = CosineHead(kind="cosine", label=HEAD, main=True)
    heads = build_heads({HEAD: params}, backbone, {HEAD: len(weights)})
    with torch.no_grad():
        cast(Cosine, cast(nn.Sequential, heads[HEAD])[-1]).words.weight.copy_(weights)
    return _answer_in(predictor, words, "tagging" if tags else "classification", params, heads[HEAD])


def _answer_in(predictor: Predictor, words: Sequence[Word], task: str, params: Head, head: nn.Module) -> Predictor:
    """The predictor with that head alone, which gives an output for each word, or of two words one."""
    chinese = {word.name: word.chinese for word in words if word.chinese}
    tags, backbone = task == "tagging", predictor.network.backbone
    own = HeadCard(
        head=params,
        classes=[word.name for word in words],
        outputs=len(words) if tags or len(words) > 2 else 1,
        threshold=None,
        unknown_below=None,
        names={SECOND: chinese} if chinese else {},
        colours=None,
        thresholds=[HALF if word.threshold is None else word.threshold for word in words] if tags else None,
    )
    heads = nn.ModuleDict({HEAD: head}).eval().requires_grad_(False)
    model = Model(backbone, heads, {HEAD: params.reads}).to(predictor.device or "cpu")
    update = {"task": task, "heads": {HEAD: own}, "tree": None, "main_head": HEAD}
    return replace(predictor, card=predictor.card.model_copy(update=update), model=model, tree=None)
