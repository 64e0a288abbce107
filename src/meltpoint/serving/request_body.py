"""What comes in a request for answers: JSON in one of the forms that MLflow takes, and images as base64 text."""

import codecs
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError
from pydantic_core import from_json

from meltpoint.images.formats import readable
from meltpoint.serving.backend import Answer
from meltpoint.serving.request_limits import Limits
from meltpoint.serving.responses import IMAGE, file_text, read_base64
from meltpoint.serving.turns import Row

FORMS = '{"dataframe_records": [{"image": "<base64 of an image file>"}]}'
STARTS = (4_096, 65_536)  # characters of base64 that often, and nearly always, hold an image's header
UNREAD = (b"ftyp", b"DICM")  # what begins a file whose size Pillow does not know by itself


class RequestError(ValueError):
    """A request that cannot be understood; the message says what is allowed."""


def read_images(body: bytes, content_type: str) -> list[object]:
    """The images of a request, or what stands in their place.

    Raises:
        RequestError: it is not JSON in a form that is taken.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        came = f"the type {content_type[:100]!r}" if content_type else "no type"
        raise RequestError(f"The request says {came}. Send JSON, with the header Content-Type: application/json")
    try:
        content = from_json(body.removeprefix(codecs.BOM_UTF8))  # several times as fast as the standard library
    except ValueError as error:  # no JSON, no UTF-8, nested hundreds deep, or a number of thousands of digits
        raise RequestError(f"The request is not JSON: {str(error)[:200]}. Send {FORMS}") from None
    match content:
        case {"dataframe_records": [*records]} | {"instances": [*records]} | {"inputs": [*records]}:
            pass
        case {"dataframe_split": {"columns": [*columns], "data": [*data]}}:
            if any(not isinstance(row, list) or len(row) != len(columns) for row in data):
                raise RequestError(f"The rows of dataframe_split.data do not have {len(columns)} cells. Send {FORMS}")
            records = [dict(zip(map(str, columns), row, strict=True)) for row in data]
        case {"inputs": {"image": [*records]}}:
            pass
        case _:
            raise RequestError(f"The request has no images in a form that is known. Send {FORMS}")
    return [_cell(record, number) for number, record in enumerate(records)]


def _cell(record: Any, number: int) -> object:
    match record:
        case {"image": image}:
            return image
        case str() | None:
            return record
    raise RequestError(f"Row {number} has no {IMAGE!r}. Send {FORMS}")


def admit(images: Sequence[object], limits: Limits) -> tuple[list[Row], dict[int, Answer]]:
    """The rows that go to the model, and by place the errors of those beyond the limits of a request."""
    rows, errors, megapixels = [], {}, 0.0
    for place, image in enumerate(images):
        text = image if isinstance(image, str) else ""
        if place >= limits.rows:
            errors[place] = {"error": f"too many rows: {limits.rows:,} are allowed in a request"}
            continue
        # One that is too large alone is refused by the model before it is decoded, and so costs nothing.
        own = header_megapixels(text, limits.megapixels)
        own = 0.0 if own > limits.megapixels else own
        if megapixels + own > limits.request_megapixels:
            most = f"{limits.request_megapixels:g} million are allowed in a request"
            errors[place] = {"error": f"too many pixels: {most}, and the images before this one have them"}
            continue
        megapixels += own
        rows.append(Row(place, text, own))
    return rows, errors


def header_megapixels(image: str, unknown: float) -> float:
    """The 10**6 pixels that the header of an image tells; `unknown` where one may be there and tells none, 0 if not.

    A text that the model reads is read here, too, however it is written: else its pixels would not be counted.
    """
    text, content = file_text(image), b""
    for letters in (*(start for start in STARTS if start < len(text)), None):
        part = "".join(text[:letters].split())
        try:
            content = read_base64(part if letters is None else part[: len(part) // 4 * 4])
        except ValueError:
            return 0.0
        try:
            with Image.open(io.BytesIO(content), formats=readable()) as opened:
                return opened.width * opened.height / 1e6
        except Image.DecompressionBombError:
            return unknown
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError):
            continue
    return unknown if content[4:8] == UNREAD[0] or content[128:132] == UNREAD[1] else 0.0
