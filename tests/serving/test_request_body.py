"""Requests are read in MLflow's forms, or refused with a sentence; pixels are counted by headers."""

import base64
import io
import json

import pytest
from PIL import Image

from meltpoint.serving.request_body import RequestError, admit, header_megapixels, read_images
from meltpoint.serving.request_limits import read_limits
from meltpoint.serving.responses import read_image

JSON = "application/json"
LIMITS = read_limits({"MELTPOINT_SERVE_ROWS": "4", "MELTPOINT_SERVE_REQUEST_MEGAPIXELS": "0.03"})


def text(width: int, height: int, kind: str = "PNG") -> str:
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def for_addresses(image: str) -> str:
    return image.translate(str.maketrans("+/", "-_"))


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_records": [{"image": "a"}, {"image": None}]},
        {"dataframe_split": {"columns": ["image"], "data": [["a"], [None]]}},
        {"instances": ["a", None]},
        {"instances": [{"image": "a"}, {"image": None}]},
        {"inputs": {"image": ["a", None]}},
        {"inputs": ["a", None]},
    ],
)
def test_forms_that_are_taken(content: object) -> None:
    assert read_images(json.dumps(content).encode(), f"{JSON}; charset=utf-8", 4) == ["a", None]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"{}", "", "says no type"),
        (b"image\na\n", "text/csv", "says the type 'text/csv'"),
        (b"[" * 10_000, JSON, "not JSON: recursion limit exceeded"),
        (b"[" * 100_000, JSON, "has about 100,000 values, 10,400 are allowed"),
        (b'{"inputs": [' + b'"",' * 10_400 + b'""]}', JSON, "has about 10,402 values"),
        (b'{"inputs": ["a"], "instances": ["a"]}', JSON, "has inputs and instances, and one is allowed"),
        (b'{"dataframe_split": {"columns": ["image", "image"], "data": [["a", "b"]]}}', JSON, "has 2 columns 'image'"),
        (b'{"inputs": [' + b"9" * 100_000 + b"]}", JSON, "not JSON: number out of range"),
        (b"\xff\xfe", JSON, "is not JSON"),
        (b"", JSON, "is not JSON"),
        (b'{"inputs": ["\\ud800"]}', JSON, "is not JSON"),
        (b"[]", JSON, "has no images in a form"),
        (b'{"inputs": "a"}', JSON, "has no images in a form"),
        (b'{"inputs": [{"picture": "a"}]}', JSON, "Row 0 has no 'image'"),
        (b'{"inputs": [1]}', JSON, "Row 0 has no 'image'"),
        (b'{"dataframe_split": {"columns": ["image"], "data": [["a", "b"]]}}', JSON, "do not have 1 cells"),
    ],
)
def test_what_is_refused(body: bytes, kind: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        read_images(body, kind, 4)
    assert len(str(refused.value)) < 500


def test_rows_and_pixels_of_a_request_have_limits() -> None:
    wide = text(100, 100)  # 0.01 million pixels
    rows, errors = admit([wide, wide, "bad", wide, wide], LIMITS)
    assert [(row.place, row.megapixels) for row in rows] == [(0, 0.01), (1, 0.01), (2, 0.0), (3, 0.01)]
    assert errors == {4: {"error": "too many rows: 4 are allowed in a request"}}
    rows, errors = admit([wide, text(200, 100), wide, text(10, 10)], LIMITS)
    assert [row.place for row in rows] == [0, 1]
    assert [error["error"].split(":")[0] for error in errors.values()] == ["too many pixels"] * 2


def test_one_that_is_refused_anyway_takes_no_pixels_from_others() -> None:
    rows, errors = admit([text(9000, 6000), text(100, 100)], LIMITS)
    assert ([row.megapixels for row in rows], errors) == ([0.0, 0.01], {})


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"])
def test_a_header_tells_the_pixels_also_in_a_url_and_in_lines(kind: str) -> None:
    image = text(300, 200, kind)
    lines = "\n".join(image[start : start + 76] for start in range(0, len(image), 76))
    ways = image, f"data:image/x;base64,{image}", lines, f"{image[:2]} {image[2:]}", for_addresses(image)
    assert [header_megapixels(one, 50) for one in ways] == [(0.06, 0.06)] * len(ways)
    assert len({read_image(one, 10**6) for one in ways}) == 1, "what the model reads is what was counted"


@pytest.mark.parametrize(
    ("content", "megapixels"),
    [(b"<html>", 0), (b"\0\0\0\x18ftypheic" + bytes(40), 50), (bytes(128) + b"DICM" + bytes(40), 50), (b"", 0)],
)
def test_what_tells_nothing_counts_as_the_most_if_it_may_be_an_image(content: bytes, megapixels: float) -> None:
    assert header_megapixels(base64.b64encode(content).decode(), 50) == (megapixels, megapixels)


@pytest.mark.parametrize("head", [b"P3 2000 9 255\n", b"P5 2000 9 254\n"])
def test_what_is_slow_to_decode_counts_by_its_bytes(head: bytes) -> None:
    """Pillow reads them number by number, a hundred times as slowly as a JPEG."""
    image = base64.b64encode(head + b"1 " * 27_000).decode()
    rows, errors = admit([image, image], LIMITS)
    assert (rows, errors.keys()) == ([], {0, 1})
    assert errors[0]["error"].startswith("too slow to decode: it takes as long as ")
    rows, _ = admit([image, image], read_limits({}))
    assert all(row.megapixels > 1 for row in rows)


@pytest.mark.parametrize("image", ["\u0100 " * 9, "A" * 99_999_999])
def test_what_the_model_does_not_decode_is_not_looked_at(image: str) -> None:
    """However many letters it has: nothing of it is kept, and nothing decoded."""
    (row,), errors = admit([image], read_limits({}))
    assert (row.megapixels, errors) == (0.0, {})
