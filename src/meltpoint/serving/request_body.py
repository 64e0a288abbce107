"""What comes in a request for answers: JSON in one of the forms that MLflow takes, and images as base64 text."""

import codecs
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError
from pydantic_core import from_json

from meltpoint.images.formats import RefusedError
from meltpoint.images.opening import open_picture
from meltpoint.serving.backend import Answer
from meltpoint.serving.request_limits import Limits
from meltpoint.serving.responses import IMAGE, SPACES, file_text, read_base64
from meltpoint.serving.turns import Row

FIELDS = ("dataframe_records", "dataframe_split", "instances", "inputs")  # of which MLflow takes one, too
MARKS = (b",", b"[", b"{")  # one stands at each value of JSON, and each value takes up to 100 bytes of memory
VALUES, FURTHER = 100, 10_000  # how many a request may have: for each row that is allowed, and besides
FORMS = '{"dataframe_records": [{"image": "<base64 of an image file>"}]}'
STARTS = (4_096, 65_536)  # characters of base64 that often, and nearly always, hold an image's header
SLOW = {"jpeg2k": 20.0, "ppm_plain": 20.0, "ppm": 80.0}  # 10**6 pixels' time for 10**6 bytes, by Pillow's decoder
UNREAD = (b"ftyp", b"DICM")  # what begins a file whose size Pillow does not know by itself


class RequestError(ValueError):
    """A request that cannot be understood; the message says what is allowed."""


def read_images(body: bytes, content_type: str, rows: int) -> list[object]:
    """The images of a request, or what stands in their place; `rows`: as many are answered.

    Raises:
        RequestError: it is not JSON in a form that is taken.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        came = f"the type {content_type[:100]!r}" if content_type else "no type"
        raise RequestError(f"The request says {came}. Send JSON, with the header Content-Type: application/json")
    most = VALUES * rows + FURTHER
    if (values := sum(map(body.count, MARKS))) > most:
        raise RequestError(f"The request has about {values:,} values, {most:,} are allowed. Send it in several.")
    try:
        content = from_json(body.removeprefix(codecs.BOM_UTF8))  # several times as fast as the standard library
    except ValueError as error:  # no JSON, no UTF-8, nested hundreds deep, or a number of thousands of digits
        raise RequestError(f"The request is not JSON: {str(error)[:200]}. Send {FORMS}") from None
    if isinstance(content, dict) and len(named := content.keys() & FIELDS) > 1:
        raise RequestError(f"The request has {' and '.join(sorted(named))}, and one is allowed. Send {FORMS}")
    match content:
        case {"dataframe_records": [*records]} | {"instances": [*records]} | {"inputs": [*records]}:
            pass
        case {"dataframe_split": {"columns": [*columns], "data": [*data]}}:
            if columns.count(IMAGE) > 1:
                raise RequestError(f"The request has {columns.count(IMAGE)} columns {IMAGE!r}. Send {FORMS}")
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
    rows, errors, megapixels, most = [], {}, 0.0, limits.request_megapixels
    for place, image in enumerate(images):
        text = image if isinstance(image, str) else ""
        if place >= limits.rows:
            errors[place] = {"error": f"too many rows: {limits.rows:,} are allowed in a request"}
            continue
        # One that is too large alone is refused by the model before it is decoded, and so costs nothing.
        too_long = len(text) > 2 * limits.image_bytes and len(file_text(text)) * 3 // 4 > limits.image_bytes
        own, work = (0.0, 0.0) if too_long else header_megapixels(text, limits.megapixels)
        work = 0.0 if own > limits.megapixels else work
        if work > most:
            like = f"it takes as long as {work:,.0f} million pixels, and {most:g} million are allowed in a request"
            errors[place] = {"error": f"too slow to decode: {like}; convert it to PNG or JPEG"}
            continue
        if megapixels + work > most:
            before = f"{most:g} million are allowed in a request, and the images before this one have them"
            errors[place] = {"error": f"too many pixels: {before}"}
            continue
        megapixels += work
        rows.append(Row(place, text, work))
    return rows, errors


def header_megapixels(image: str, unknown: float) -> tuple[float, float]:
    """The 10**6 pixels that the header of an image tells, and how many of a JPEG take as long as it does.

    Both are `unknown` where an image may be there and its header tells nothing, and 0 where there is none.

    A text that the model reads is read here, too, however it is written: else its pixels would not be counted.
    """
    text, content = file_text(image), b""
    if not text.isascii():
        return 0.0, 0.0
    for letters in (*(start for start in STARTS if start < len(text)), None):
        part = text[:letters].encode().translate(None, SPACES).decode()
        try:
            content = read_base64(part if letters is None else part[: len(part) // 4 * 4])
        except ValueError:
            return 0.0, 0.0
        try:
            with open_picture(io.BytesIO(content)) as opened:
                megapixels = opened.width * opened.height / 1e6
                tiles = getattr(opened, "tile", ())  # a file's, with the name of what decodes it
                slow = SLOW.get(tiles[0].codec_name, 0.0) if tiles else 0.0
                return megapixels, max(megapixels, slow * len(text) * 3 / 4e6)
        except Image.DecompressionBombError:
            return unknown, unknown
        except (RefusedError, UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError):
            continue
    told = content[4:8] == UNREAD[0] or content[128:132] == UNREAD[1]
    return (unknown, unknown) if told else (0.0, 0.0)
