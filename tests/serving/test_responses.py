"""Whatever a request holds, every row gets an answer, and a bad one spoils itself only."""

import base64
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meltpoint.predict.inputs import most_bytes
from meltpoint.predict.records import Answer, Area, Choice, HeadAnswer, MaskAnswer
from meltpoint.serving.request_limits import Limits
from meltpoint.serving.responses import answer, answer_columns, read_image

CLASSES = {"shape": ["circle", "square"], "size": ["small", "large"]}
LIMIT = 0.001  # megapixels
LIMITS = Limits(rows=5, image_bytes=10**9, megapixels=50, request_megapixels=250)
NAMES = {"en": {"circle": "Circle", "square": "Square"}, "zh": {"square": "方形"}}


def say(label: str, shares: dict[str, float], unknown: bool) -> HeadAnswer:
    top = [Choice(name, name, share) for name, share in sorted(shares.items(), key=lambda pair: -pair[1])]
    return HeadAnswer(label, label, shares[label], tuple(top), (), unknown)


class Guess:
    """Stands in for a predictor: good content is b"ok". It answers `small` by a threshold, against the likelier."""

    card = SimpleNamespace(
        task="classification",
        classes=CLASSES, max_megapixels=LIMIT, heads={
            "shape": SimpleNamespace(classes=CLASSES["shape"], names=NAMES, colours=None),
            "size": SimpleNamespace(classes=CLASSES["size"], names={}, colours=None),
        },
    )  # fmt: skip

    def stream(self, sources: Iterable[bytes], top: int, language: str | None, batch: int) -> Iterator[Answer]:
        assert (top, language) == (2, None)
        for source in sources:
            shape = say("square", {"circle": 0.25, "square": 0.75}, unknown=False)
            heads = {"shape": shape, "size": say("small", {"small": 0.4, "large": 0.6}, unknown=True)}
            yield Answer(None, None, heads, ()) if source == b"ok" else Answer(None, "not an image", {}, ())


def encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


GOOD = encode(b"ok")
BAD: list[tuple[object, str]] = [
    (None, "no image"),
    (float("nan"), "no image"),
    (7, "no image"),
    ("", "no image"),
    ("  \n", "no image"),
    ("not base64!", "not base64"),
    ("a", "not base64"),
    ("é", "not base64"),
    ("data:image/png;base64", "not base64"),
    (encode(b"<html>"), "not an image"),
    ("A" * most_bytes(LIMIT) * 2, "too large"),
]


@pytest.mark.parametrize(("image", "reason"), BAD)
def test_a_bad_row_says_why_and_leaves_the_others_alone(image: object, reason: str) -> None:
    said = answer(Guess(), [GOOD, image, GOOD], LIMITS)  # type: ignore[arg-type]
    assert said["shape"].tolist() == ["square", None, "square"]
    assert said["error"][1].startswith(reason)
    assert said["error"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize("image", [GOOD, f"data:image/png;base64,{GOOD}", f" {GOOD}\n"])
def test_a_good_row_has_label_and_probabilities(image: str) -> None:
    row = answer(Guess(), [image], LIMITS).iloc[0]  # type: ignore[arg-type]
    assert (row["shape"], row["shape.probability"]) == ("square", 0.75)
    assert list(json.loads(row["shape.all"]).items()) == [("circle", 0.25), ("square", 0.75)]
    assert row["shape.unknown"] is False
    assert json.loads(row["shape.names"]) == {"en": "Square", "zh": "方形"}


def test_an_answer_is_the_predictors_and_not_the_likeliest() -> None:
    row = answer(Guess(), [GOOD], LIMITS).iloc[0]  # type: ignore[arg-type]
    assert (row["size"], row["size.probability"], row["size.unknown"]) == ("small", 0.4, True)
    assert row["size.names"] == "{}"
    assert row["error"] is None


def test_a_bad_row_knows_nothing_of_unknown() -> None:
    assert answer(Guess(), ["", GOOD], LIMITS)["shape.unknown"].tolist() == [None, False]  # type: ignore[arg-type]


def test_columns_are_those_of_the_signature() -> None:
    assert list(answer(Guess(), [], LIMITS).columns) == list(answer_columns(Guess.card))  # type: ignore[arg-type]


def test_rows_beyond_the_limit_say_so_and_cost_nothing() -> None:
    said = answer(Guess(), [GOOD, "", *[GOOD] * 6], LIMITS)  # type: ignore[arg-type]
    assert said["shape"].tolist() == ["square", None, *["square"] * 3, *[None] * 3]
    assert said["error"].tolist()[5:] == ["too many rows: 5 are allowed in a request"] * 3


def test_an_image_beyond_the_limit_of_bytes_is_not_looked_at() -> None:
    said = answer(Guess(), [GOOD, encode(b"ok" * 50)], replace(LIMITS, image_bytes=60))  # type: ignore[arg-type]
    assert said["error"].tolist() == [None, "too large: about 102 bytes came, 60 are allowed"]


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary().map(encode), st.integers(), st.none()))
def test_anything_is_bytes_or_a_reason(image: Any) -> None:
    found = read_image(image, 1000)
    assert isinstance(found, bytes) or found


MASK = np.array([[0, 1, 1], [255, 1, 1]], np.uint8)


class Painter:
    """Stands in for a predictor of masks."""

    card = SimpleNamespace(
        task="segmentation",
        classes={"scene": ["sky", "road"]}, max_megapixels=LIMIT, heads={
            "scene": SimpleNamespace(names={"zh": {"road": "道路"}}, colours=["#0000ff", "#804080"]),
        },
    )  # fmt: skip

    def stream(self, sources: Iterable[bytes], top: int, language: str | None, batch: int) -> Iterator[Answer]:
        for source in sources:
            legend = (Area("sky", "sky", "#0000ff", 0.2), Area("road", "road", "#804080", 0.8))
            said = MaskAnswer(MASK, legend[::-1], legend)
            good = Answer(None, None, {}, (), {"scene": said})
            yield good if source == b"ok" else Answer(None, "not an image", {}, ())


@pytest.mark.parametrize(("image", "reason"), BAD)
def test_masks_are_png_and_a_bad_row_spoils_only_itself(image: object, reason: str) -> None:
    said = answer(Painter(), [GOOD, image, GOOD], LIMITS)  # type: ignore[arg-type]
    assert list(said.columns) == list(answer_columns(Painter.card))
    assert said["scene.mask"].isna().tolist() == [False, True, False]
    assert said["error"][1].startswith(reason)
    with Image.open(io.BytesIO(base64.b64decode(said["scene.mask"][2]))) as mask:
        assert mask.format == "PNG"
        np.testing.assert_array_equal(np.asarray(mask), MASK)
        assert mask.convert("RGB").getpixel((1, 0)) == (0x80, 0x40, 0x80)
    assert json.loads(said["scene.areas"][0]) == {"sky": 0.2, "road": 0.8}
    assert json.loads(said["scene.names"][0]) == {"zh": {"road": "道路"}}
