"""What a served model answers: base64 images in, a row for each image out. A bad image spoils its own row only."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from meltpoint.predict.masks import encode_mask
from meltpoint.predict.sources import most_bytes
from meltpoint.serving.request_limits import Limits

if TYPE_CHECKING:
    from meltpoint.model.card import Card, HeadCard
    from meltpoint.predict.answers import Answer
    from meltpoint.predict.predictor import Predictor

IMAGE = "image"  # the column of a request
BATCH = 16  # images through the model at once
DIGITS = 6  # of a probability


def answer_columns(heads: "Mapping[str, HeadCard]") -> dict[str, str]:
    """The columns of an answer and their MLflow types: per head a few, and `error`; what is not known is null."""
    columns: dict[str, str] = {}
    for head, own in heads.items():
        if own.colours is not None:
            columns |= {f"{head}.mask": "string", f"{head}.areas": "string", f"{head}.names": "string"}
            continue
        columns |= {head: "string", f"{head}.probability": "double", f"{head}.all": "string"}
        columns |= {f"{head}.unknown": "boolean", f"{head}.names": "string"}
    return {**columns, "error": "string"}


def answer(predictor: "Predictor", images: Iterable[object], limits: Limits) -> pd.DataFrame:
    """A row for each image, in order, as `Predictor.predict` answers.

    Per head: the label, its probability, all probabilities as JSON, whether the head is too unsure for its answer to
    count, and the label's names as JSON, language to name. Of a head of pixels: the mask as the base64 text of a PNG,
    whose pixels are class ids in the image's own size, the share of each class as JSON, in the order of the ids, and
    the classes' names as JSON, language to class to name. An image is the base64 text of a file's bytes, a `data:` URL
    included. `error` says why there is no answer; rows and images beyond the limits get one and cost nothing.
    """
    predictor = _narrowed(predictor, limits.megapixels)
    most = min(limits.image_bytes, most_bytes(predictor.card.max_megapixels))
    read = [
        read_image(image, most) if row < limits.rows else f"too many rows: {limits.rows:,} are allowed in a request"
        for row, image in enumerate(images)
    ]
    contents = [content for content in read if isinstance(content, bytes)]
    every = max(len(names) for names in predictor.card.classes.values())
    found = predictor.stream(contents, every, None, BATCH)
    rows = [_row(predictor.card, next(found)) if isinstance(content, bytes) else {"error": content} for content in read]
    columns = list(answer_columns(predictor.card.heads))
    cells = [[row.get(column) for column in columns] for row in rows]
    return pd.DataFrame(cells, columns=columns, dtype=object)


def _narrowed(predictor: "Predictor", megapixels: float) -> "Predictor":
    """The same model, refusing pictures of more pixels than that, if it did not before."""
    if predictor.card.max_megapixels <= megapixels:
        return predictor
    return replace(predictor, card=predictor.card.model_copy(update={"max_megapixels": megapixels}))


def read_image(image: object, most: int) -> bytes | str:
    """The bytes of an image, at most `most` of them, or why there are none."""
    if not isinstance(image, str) or not image.strip():
        return "no image: the cell is empty"
    text = image.split(",", 1)[-1] if image.startswith("data:") else image
    if len(text) * 3 // 4 > most:
        return f"too large: about {len(text) * 3 // 4:,} bytes came, {most:,} are allowed"
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return "not base64"


def _row(card: "Card", said: "Answer") -> dict[str, Any]:
    if said.error is not None:
        return {"error": said.error}
    told: dict[str, Any] = {}
    for name, own in said.heads.items():
        head, shares = card.heads[name], {choice.label: round(choice.probability, DIGITS) for choice in own.top}
        names = {language: known[own.label] for language, known in head.names.items() if own.label in known}
        told |= {
            name: own.label,
            f"{name}.probability": round(own.probability, DIGITS),
            f"{name}.all": json.dumps({label: shares[label] for label in head.classes}, ensure_ascii=False),
            f"{name}.unknown": own.unknown,
            f"{name}.names": json.dumps(names, ensure_ascii=False),
        }
    for name, mask in said.masks.items():
        content = encode_mask(mask.mask, [area.colour for area in mask.legend])
        shares = {area.label: round(area.share, DIGITS) for area in mask.legend}
        told |= {
            f"{name}.mask": base64.b64encode(content).decode(),
            f"{name}.areas": json.dumps(shares, ensure_ascii=False),
            f"{name}.names": json.dumps(card.heads[name].names, ensure_ascii=False),
        }
    return told
