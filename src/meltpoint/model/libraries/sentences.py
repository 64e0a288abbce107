"""Library `sentences`: a text side for any classifier of ImageNet, by an encoder of sentences.

An image is the mean of the sentence vectors of the classes that the classifier sees in it, weighted by their
probability (ConSE; Norouzi et al.: Zero-Shot Learning by Convex Combination of Semantic Embeddings, ICLR 2014).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn

from meltpoint.files import read_json
from meltpoint.model.libraries.timm import make_net
from meltpoint.model.library import Parts, find_folder, missing_package
from meltpoint.model.nets import BackboneError
from meltpoint.model.text_vectors import TextEncoder, TextError, embed_texts, spell_with
from meltpoint.params.model import Backbone


class ClassSentences(nn.Module):
    """Features (N, D) to vectors (N, E): the mean of those of the `top` likeliest classes, by their probability."""

    vectors: Tensor

    def __init__(self, classifier: nn.Linear, vectors: Tensor, top: int | None) -> None:
        super().__init__()
        self.classifier, self.top = classifier, min(top or len(vectors), len(vectors))
        self.register_buffer("vectors", vectors)  # (C, E), of length 1

    def forward(self, features: Tensor) -> Tensor:
        """Float (N, D) to float (N, E)."""
        likely, classes = self.classifier(features).softmax(1).topk(self.top, dim=1)  # (N, T)
        weights = likely / likely.sum(1, keepdim=True)
        return torch.einsum("nt,nte->ne", weights, self.vectors[classes])


class SentenceEncoder:
    """A model of `transformers` in a folder: the mean of what it gives of the tokens of a text."""

    scale = 20.0  # as sentence-transformers teaches by default

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging
        except ImportError:
            raise missing_package("transformers") from None
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        except Exception as error:  # transformers lets through whatever its readers raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise TextError(
                f"{folder} holds no text encoder that can be read: {reason}. It has to be a folder as transformers"
                " saves it, with config.json, model.safetensors and a tokenizer. Correct `text` of the encoder."
            ) from error
        longest = int(self.model.config.max_position_embeddings)
        if (stated := folder / "sentence_bert_config.json").is_file():
            longest = min(longest, int(read_json(stated)["max_seq_length"]))
        self.limit = longest - self.tokenizer.num_special_tokens_to_add()

    def count(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """See `TextEncoder`."""
        tokens = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [(len(own), sum(token != self.tokenizer.unk_token_id for token in own)) for own in tokens]

    def spell(self, word: str) -> list[str]:
        """See `TextEncoder`."""
        return spell_with(self.tokenizer, word)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See `TextEncoder`."""
        tokens = self.tokenizer(list(texts), padding=True, return_tensors="pt")
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        return cast(Tensor, (self.model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1))


def tower(params: Backbone) -> Backbone:
    """The classifier."""
    return params


def build(params: Backbone, size: int, pretrained: bool) -> Parts:
    """The classifier's net, then its own last layer and the vectors of its classes' names."""
    assert params.text is not None, "checked with params.yaml"
    assert params.text.width is not None, "checked with params.yaml"
    net, licence, origin = make_net(params, size, pretrained, classifier=True)
    anything = cast(Any, net)
    layer, subset = anything.get_classifier(), infer_imagenet_subset(net)
    if not isinstance(layer, nn.Linear) or subset is None:
        raise BackboneError(
            f"{params.name} has no layer that tells the classes of ImageNet, and with `library: sentences` an image is"
            " known by these. Take a classifier that has one, such as tf_efficientnet_lite0."
        )
    anything.set_submodule(next(name for name, module in net.named_modules() if module is layer), nn.Identity())
    vectors = torch.zeros(layer.out_features, params.text.width)
    if pretrained:
        info = ImageNetInfo(subset)
        names = [info.index_to_description(number) for number in range(layer.out_features)]
        vectors = embed_texts(open_text(params, None), names)
        if vectors.shape[1] != params.text.width:
            raise TextError(
                f"The text encoder in {params.text.folder} gives vectors of {vectors.shape[1]} numbers, and text.width"
                f" says {params.text.width}. Correct text.width of the encoder."
            )
        origin += f"; sentences by {params.text.package or params.text.folder}"
    return Parts(net, ClassSentences(layer, vectors, params.top), licence, origin)


def open_text(params: Backbone, place: Path | None) -> TextEncoder:
    """The encoder of sentences, from its folder; no hub is asked."""
    assert params.text is not None, "checked with params.yaml"
    return SentenceEncoder(place or find_folder(params.text))
