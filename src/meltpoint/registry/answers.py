"""What a served model answers: base64 images in, a row for each image out. A bad image spoils its own row only."""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from meltpoint.predict.predictor import Predictor

IMAGE = "image"  # the column of a request
BATCH = 16  # images decoded at once
BYTES_A_PIXEL = 8  # four channels of 16 bits: an honest file is no larger than its pixels
HEADER = 100_000  # bytes that a file may need besides its pixels


def answer_columns(classes: dict[str, list[str]]) -> dict[str, str]:
    """The columns of an answer and their MLflow types: per head three, and `error`; what is unknown is null."""
    columns: dict[str, str] = {}
    for head in classes:
        columns |= {head: "string", f"{head}.probability": "double", f"{head}.all": "string"}
    return {**columns, "error": "string"}


def answer(predictor: "Predictor", images: Iterable[object]) -> pd.DataFrame:
    """A row for each image, in order: per head the label, its probability, and all probabilities as JSON.

    An image is the base64 text of a file's bytes, a `data:` URL included. `error` says why there is no answer.
    """
    most = int(predictor.card.max_megapixels * 1e6 * BYTES_A_PIXEL) + HEADER
    read = [read_image(image, most) for image in images]
    contents = [content for content in read if isinstance(content, bytes)]
    found = iter(_rows(predictor, contents) if contents else [])
    rows = [next(found) if isinstance(content, bytes) else {"error": content} for content in read]
    columns = list(answer_columns(predictor.card.classes))
    cells = [[row.get(column) for column in columns] for row in rows]
    return pd.DataFrame(cells, columns=columns, dtype=object)


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


def _rows(predictor: "Predictor", contents: list[bytes]) -> list[dict[str, Any]]:
    table = predictor.predict_images(contents, BATCH)
    return [_row(predictor.card.classes, row) for row in table.to_dict("records")]


def _row(classes: dict[str, list[str]], row: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(row["error"], str) and row["error"]:
        return {"error": row["error"]}
    told: dict[str, Any] = {}
    for head, names in classes.items():
        chances = {name: round(float(row[f"{head}.p.{name}"]), 6) for name in names}
        best = max(names, key=lambda name: chances[name])
        told |= {head: best, f"{head}.probability": chances[best], f"{head}.all": json.dumps(chances)}
    return told
