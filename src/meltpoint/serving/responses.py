"""The answers of a served model: base64 images in, a row for each image out. A bad image gives an error in its row."""

import base64
import string
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ConfigDict, TypeAdapter

from meltpoint.predict.inputs import most_bytes
from meltpoint.serving.request_limits import Limits
from meltpoint.tasks.contract import load_display

if TYPE_CHECKING:
    from meltpoint.model.card import Card
    from meltpoint.tasks.answerer import Answerer

IMAGE = "image"  # the column of a request
BATCH = 32  # images through the model at once
SPACES = string.whitespace.encode()
FILE = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


def answer_columns(card: "Card") -> dict[str, str]:
    """The columns of an answer and their MLflow types: per head a few, and `error`; what is not known is null."""
    return {**load_display(card.task).served_columns(card.heads), "error": "string"}


def answer(answerer: "Answerer", images: Iterable[object], limits: Limits) -> pd.DataFrame:
    """A row for each image, in order, as `Answerer.predict` answers.

    Per head: the label, its probability, all probabilities as JSON, whether the head is too unsure for its answer to
    count, and the label's names as JSON, language to name. Of a head of pixels: the mask as the base64 text of a PNG,
    whose pixels are class ids in the image's own size, the share of each class as JSON, in the order of the ids, and
    the classes' names as JSON, language to class to name. An image is the base64 text of a file's bytes, a `data:` URL
    included. `error` says why there is no answer; rows and images beyond the limits get one and cost nothing.
    """
    answerer = limit(answerer, limits)
    card, cells = answerer.card, load_display(answerer.card.task).served_cells
    most = min(limits.image_bytes, most_bytes(card.max_megapixels))
    rows: dict[int, dict[str, Any]] = {}
    places = deque[int]()

    def contents() -> Iterator[bytes]:
        """Read when they are asked for: the first are decoded meanwhile."""
        for place, image in enumerate(images):
            too_many = f"too many rows: {limits.rows:,} are allowed in a request"
            content = read_image(image, most) if place < limits.rows else too_many
            if isinstance(content, bytes):
                places.append(place)
                yield content
            else:
                rows[place] = {"error": content}

    every = max(len(names) for names in card.classes.values())
    for found in answerer.stream(contents(), every, None, BATCH):
        rows[places.popleft()] = cells(card, found) if found.error is None else {"error": found.error}
    columns = list(answer_columns(card))
    table = [[row.get(column) for column in columns] for _, row in sorted(rows.items())]
    return pd.DataFrame(table, columns=columns, dtype=object)


def limit(answerer: "Answerer", limits: Limits) -> "Answerer":
    """The same model, for pictures of no more pixels than the limits allow."""
    if answerer.card.max_megapixels <= limits.megapixels:
        return answerer
    lower = answerer.card.model_copy(update={"max_megapixels": limits.megapixels})
    return replace(answerer, predictor=replace(answerer.predictor, card=lower))


def read_image(image: object, most: int) -> bytes | str:
    """The bytes of an image, at most `most` of them, or why there are none."""
    if not isinstance(image, str) or not image.strip():
        return "no image: the cell is empty"
    text = file_text(image)
    if len(text) * 3 // 4 > most:
        return f"too large: about {len(text) * 3 // 4:,} bytes came, {most:,} are allowed"
    try:
        return read_base64(text)
    except ValueError:
        return "not base64"


def file_text(image: str) -> str:
    """The text of a file, without what stands before it in a `data:` URL."""
    return image.split(",", 1)[-1] if image.startswith("data:") else image


def read_base64(text: str) -> bytes:
    """The bytes of a text in base64 (RFC 4648, either alphabet); spaces and ends of lines may be anywhere in it.

    Raises:
        ValueError: it is not base64.
    """
    try:
        return FILE.validate_strings(text)  # three times as fast as the standard library
    except ValueError:
        return base64.b64decode(text.encode("ascii").translate(None, SPACES), validate=True)
