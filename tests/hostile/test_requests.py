"""Requests to a served model: a bad image spoils its own row, and says why there."""

import base64
import io
import os
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.model import Model, build_heads, save_model
from meltpoint.params.data import Images
from meltpoint.params.heads import LinearHead
from meltpoint.params.model import Backbone, RandomWeights
from meltpoint.serving.request_limits import read_limits
from meltpoint.serving.responses import answer
from meltpoint.tasks.answerer import Answerer, open_answerer

SECTION = "Requests"
CLASSES = ["cat", "dog", "eel"]
LIMITS = read_limits({"MELTPOINT_SERVE_ROWS": "20"})


def picture(seed: int = 0, side: int = 40) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, "PNG")
    return content.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def bomb() -> bytes:
    parts = {b"IHDR": struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(b""), b"IEND": b""}
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


MAKERS: dict[str, Callable[[], list[object]]] = {
    "an honest image": lambda: [text(picture())],
    "a `data:` URL": lambda: ["data:image/png;base64," + text(picture())],
    "base64 in lines": lambda: ["\n".join(text(picture())[start : start + 76] for start in range(0, 20_000, 76))],
    "HTML in base64": lambda: [text(b"<!DOCTYPE html><html>404</html>")],
    "EPS in base64": lambda: [text(b"%!PS-Adobe-3.0 EPSF-3.0\n")],
    "half an image": lambda: [text(picture()[:2000])],
    "words that are not base64": lambda: ["a picture of a cat"],
    "a path on the server": lambda: ["/etc/passwd"],
    "an address": lambda: ["http://127.0.0.1:1/cat.png"],
    "an empty cell": lambda: [""],
    "null": lambda: [None],
    "a number": lambda: [7.5],
    "an image of too many bytes": lambda: [text(os.urandom(9_000_000))],
    "an image of too many pixels": lambda: [text(picture(side=1100))],
    "a bomb of pixels": lambda: [text(bomb())],
    "no rows": lambda: [],
    "one bad row among good ones": lambda: [text(picture(1)), "bad", text(picture(2)), None, text(picture(3))],
    "more rows than allowed": lambda: [text(picture(number)) for number in range(25)],
}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    torch.manual_seed(0)
    params = Backbone(
        name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=[0.5] * 3, std=[0.5] * 3
    )
    head = LinearHead(
        kind="linear", label="y", tap="final", weight=1.0, class_weights="none", target="nominal", where=None,
        threshold=None, unknown=None, main=True,
    )  # fmt: skip
    card = Card(
        format=FORMAT, strategy="s", task="classification", backbone=params, max_megapixels=1,
        images=Images(side=32, resize="squash", interpolation="area"), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        heads={"y": HeadCard(head=head, classes=CLASSES, outputs=3, threshold=None, unknown_below=None, names={},
                             colours=None)},
        tree=None, main_head="y", metric="accuracy", key="k", data="d", seed=0, licence="none",
        trainable_parameters=7, versions={},
    )  # fmt: skip
    backbone = build_backbone(params, {"final"}, 32)
    model = Model(backbone, build_heads({"y": head}, backbone, {"y": 3}), {"y": "final"})
    folder = tmp_path_factory.mktemp("model")
    save_model(model, card, folder)
    return open_answerer(folder)


def rows_of(predictor: Answerer, images: list[object]) -> pd.DataFrame:
    return answer(predictor, images, LIMITS)


def check_good(rows: pd.DataFrame) -> None:
    assert rows["error"].isna().all()
    assert rows["y"].isin(CLASSES).all()


def test_requests(row: Any, predictor: Answerer) -> None:
    images = MAKERS[row.name]()
    rows = rows_of(predictor, images)
    assert len(rows) == len(images)
    if row.fate == "read":
        check_good(rows)
        return
    assert row.fate == "answered"
    refused = rows[rows["error"].notna()]
    assert rows.loc[refused.index, [name for name in rows if name != "error"]].isna().all(axis=None)
    for quote in row.quotes:
        assert refused["error"].str.contains(quote, regex=False).any()
    check_good(rows[rows["error"].isna()])
    assert len(refused) == {"one bad row among good ones": 2, "more rows than allowed": 5}.get(row.name, 1)


def test_a_bad_row_changes_no_other(predictor: Answerer) -> None:
    images = MAKERS["one bad row among good ones"]()
    together, good = (
        rows_of(predictor, images),
        [image for image in images if isinstance(image, str) and image != "bad"],
    )
    alone = rows_of(predictor, list(good))
    pd.testing.assert_frame_equal(together[together["error"].isna()].reset_index(drop=True), alone)


def test_two_hundred_in_parallel_get_their_own_answers(predictor: Answerer) -> None:
    pictures: list[list[object]] = [[text(picture(number))] for number in range(20)]
    expected = [rows_of(predictor, images) for images in pictures]
    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(lambda number: rows_of(predictor, pictures[number % 20]), range(200)))
    for number, rows in enumerate(found):
        wanted = expected[number % 20]
        assert rows["error"].isna().all()
        assert rows["y"].tolist() == wanted["y"].tolist()
        assert float(rows["y.probability"].iloc[0]) == pytest.approx(float(wanted["y.probability"].iloc[0]), abs=1e-4)


def test_every_row_has_its_request(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)


def test_at_least_forty_cases(every_row: Any) -> None:
    names = [(row.section, row.name) for row in every_row]
    assert len(names) == len(set(names)) >= 40
    assert Path("/etc/passwd").exists(), "the row about it would mean nothing"
