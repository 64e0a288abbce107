"""Whatever a request holds, every row gets an answer, and a bad one spoils itself only."""

import base64
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.registry.answers import BYTES_A_PIXEL, HEADER, answer, answer_columns, read_image

CLASSES = {"shape": ["circle", "square"]}
LIMIT = 0.001  # megapixels


class Guess:
    """Stands in for a predictor: good content is b"ok"."""

    card = SimpleNamespace(classes=CLASSES, max_megapixels=LIMIT)

    def predict_images(self, sources: Sequence[bytes], batch: int) -> pd.DataFrame:
        good = [source == b"ok" for source in sources]
        chances = {"shape.p.circle": [0.25 if fine else float("nan") for fine in good]}
        chances["shape.p.square"] = [0.75 if fine else float("nan") for fine in good]
        errors = pd.array([None if fine else "not an image" for fine in good], dtype="string")
        return pd.DataFrame({"error": errors, **chances})


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
    ("A" * (HEADER + int(LIMIT * 1e6 * BYTES_A_PIXEL)) * 2, "too large"),
]


@pytest.mark.parametrize(("image", "reason"), BAD)
def test_a_bad_row_says_why_and_leaves_the_others_alone(image: object, reason: str) -> None:
    said = answer(Guess(), [GOOD, image, GOOD])  # type: ignore[arg-type]
    assert said["shape"].tolist() == ["square", None, "square"]
    assert said["error"][1].startswith(reason)
    assert said["error"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize("image", [GOOD, f"data:image/png;base64,{GOOD}", f" {GOOD}\n"])
def test_a_good_row_has_label_and_probabilities(image: str) -> None:
    row = answer(Guess(), [image]).iloc[0]  # type: ignore[arg-type]
    assert (row["shape"], row["shape.probability"]) == ("square", 0.75)
    assert json.loads(row["shape.all"]) == {"circle": 0.25, "square": 0.75}


def test_columns_are_those_of_the_signature() -> None:
    assert list(answer(Guess(), []).columns) == list(answer_columns(CLASSES))  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary().map(encode), st.integers(), st.none()))
def test_anything_is_bytes_or_a_reason(image: Any) -> None:
    found = read_image(image, 1000)
    assert isinstance(found, bytes) or found
