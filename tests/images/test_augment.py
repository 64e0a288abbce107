"""Slips in the list of transforms show when it is read; a view depends on its picture and its seed alone."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.images.augment import Augmentation, AugmentError, build_transform
from meltpoint.params.data import Images
from meltpoint.tables import IGNORED

IMAGES = Images(side=24, resize="squash", interpolation="area")
LISTED: list[dict[str, dict[str, Any]]] = [
    {"D4": {"p": 1.0}},
    {"RandomBrightnessContrast": {"brightness_limit": 0.3, "contrast_limit": [-0.2, 0.3], "p": 0.7}},
    {"CoarseDropout": {"p": 0.5}},
]
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def transform() -> Augmentation:
    return build_transform(LISTED, IMAGES)


@given(seed=st.integers(0, 2**63 - 1), other=st.integers(0, 2**63 - 1))
def test_a_view_is_a_function_of_picture_and_seed(transform: Augmentation, seed: int, other: int) -> None:
    before = PICTURE.copy()
    view = transform(PICTURE, seed)
    transform(PICTURE, other)
    np.testing.assert_array_equal(transform(PICTURE, seed), view)
    np.testing.assert_array_equal(PICTURE, before)
    assert view.shape == PICTURE.shape
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous


def test_seeds_give_different_views(transform: Augmentation) -> None:
    assert len({transform(PICTURE, seed).tobytes() for seed in range(20)}) > 15


def test_another_process_gives_the_same_view_and_asks_no_network(transform: Augmentation) -> None:
    code = f"""
import socket, sys
import numpy as np

def refuse(*_):
    sys.exit("asked the network")

socket.socket.connect = refuse
from meltpoint.images.augment import build_transform
from meltpoint.params.data import Images

transform = build_transform({LISTED!r}, Images(side=24, resize="squash", interpolation="area"))
picture = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(24, 24, 3)
sys.stdout.buffer.write(transform(picture, 5).tobytes())
"""
    command = [sys.executable, "-W", "error", "-c", code]
    answer = subprocess.run(command, input=PICTURE.tobytes(), capture_output=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout == transform(PICTURE, 5).tobytes()


def test_no_transforms_leave_the_picture_as_it_is() -> None:
    np.testing.assert_array_equal(build_transform([], IMAGES)(PICTURE, 1), PICTURE)


SCENE = (np.indices((24, 24)).sum(0) // 4 * 30 % 256).astype(np.uint8)  # stripes of ids
MOVING: list[dict[str, dict[str, Any]]] = [
    {"HorizontalFlip": {}},
    {"D4": {}},
    {"RandomResizedCrop": {"size": [24, 24], "scale": [0.3, 0.8]}},
    {"Rotate": {"limit": 40}},
    {"ShiftScaleRotate": {}},
    {"Affine": {"scale": [0.5, 0.7]}},
    {"Perspective": {}},
    {"ElasticTransform": {"alpha": 30}},
    {"GridDistortion": {}},
    {"RandomBrightnessContrast": {}},
    {"GaussianBlur": {}},
    {"CoarseDropout": {}},
]


@pytest.mark.parametrize("step", MOVING, ids=lambda step: next(iter(step)))
@pytest.mark.filterwarnings("ignore:ShiftScaleRotate is a special case:UserWarning")
def test_a_mask_moves_with_its_picture(step: dict[str, dict[str, Any]]) -> None:
    name, arguments = next(iter(step.items()))
    transform = build_transform([{name: {**arguments, "p": 1.0}}], IMAGES)
    for seed in range(4):
        view, moved = transform.pair(PICTURE, SCENE, seed)
        np.testing.assert_array_equal(view, transform(PICTURE, seed))  # with a mask, and without
        assert (moved.shape, moved.dtype) == (SCENE.shape, np.uint8)
        assert set(np.unique(moved)) <= set(np.unique(SCENE)) | {IGNORED}
        again = transform.pair(PICTURE, SCENE, seed)[1]
        np.testing.assert_array_equal(again, moved)


def test_a_mask_lies_on_its_picture_pixel_for_pixel() -> None:
    steps: list[dict[str, dict[str, Any]]] = [
        {"D4": {"p": 1.0}},
        {"Affine": {"translate_px": {"x": [3, 9], "y": [-9, -3]}, "interpolation": 0, "p": 1.0}},
    ]
    transform, picture = build_transform(steps, IMAGES), np.repeat(SCENE[..., None], 3, axis=2)
    for seed in range(20):
        view, moved = transform.pair(picture, SCENE, seed)
        inside = moved != IGNORED
        np.testing.assert_array_equal(view[inside][:, 0], moved[inside])
        assert not view[~inside].any()
        assert 0.3 < inside.mean() < 0.95


@pytest.mark.parametrize(
    "step",
    [
        {"Rotate": {"limit": [30, 40], "p": 1.0}},
        {"Affine": {"scale": [0.5, 0.6], "p": 1.0}},
        {"Perspective": {"p": 1.0, "scale": [0.2, 0.3], "fit_output": True}},
    ],
)
def test_what_comes_in_from_outside_is_ignored(step: dict[str, dict[str, Any]]) -> None:
    white = np.full((24, 24, 3), 255, dtype=np.uint8)
    view, moved = build_transform([step], IMAGES).pair(white, np.full((24, 24), 3, dtype=np.uint8), 0)
    assert set(np.unique(moved)) == {3, IGNORED}
    assert (view[moved == 3] > 0).all()
    assert (view[moved == IGNORED] < 255).all()


def test_ignored_pixels_and_the_last_class_stay_what_they_are() -> None:
    mask = np.full((24, 24), 254, dtype=np.uint8)
    mask[:12] = IGNORED
    before = mask.copy()
    _, moved = build_transform([{"VerticalFlip": {"p": 1.0}}], IMAGES).pair(PICTURE, mask, 0)
    np.testing.assert_array_equal(moved, mask[::-1])
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("filled", [0, 5, IGNORED])
def test_a_fill_of_masks_is_a_class(filled: int) -> None:
    steps: list[dict[str, dict[str, Any]]] = [
        {"CoarseDropout": {"fill_mask": filled, "hole_height_range": [8, 8], "hole_width_range": [8, 8], "p": 1.0}}
    ]
    _, moved = build_transform(steps, IMAGES).pair(PICTURE, np.full((24, 24), 9, dtype=np.uint8), 0)
    assert set(np.unique(moved)) == {9, filled}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("HorizontalFlop", {}, r"'HorizontalFlop' is not a transform\. Did you mean 'HorizontalFlip'\?"),
        ("horizontalflip", {}, "Did you mean 'HorizontalFlip'"),
        ("OneOf", {}, "is not a transform"),
        ("ImageOnlyTransform", {}, "is not a transform"),
        ("Compose", {}, "is not a transform"),
        ("GaussianBlur", {"blur_limits": 3}, "no argument 'blur_limits'. Did you mean 'blur_limit'"),
        ("D4", {"size": 3}, "D4 has no argument 'size'. Allowed are p"),
        ("D4", {"p": 2}, "D4 refuses {'p': 2}: p Input should be less than or equal to 1"),
        ("Rotate", {"limit": "much"}, "Rotate refuses"),
        ("RandomCrop", {"width": 24}, "height Field required"),
        (
            "RandomCrop",
            {"height": 12, "width": 12, "p": 0.01},
            r"RandomCrop turns uint8 \(24, 24, 3\) .* \(12, 12, 3\)",
        ),
        ("Normalize", {"p": 0.01}, "float32.*Leave out Normalize"),
        ("ToTensorV2", {}, "Leave out Normalize and ToTensorV2"),
        ("MaskDropout", {}, "need nothing but the picture"),
        ("Rotate", {"mask_interpolation": 1}, "makes the classes .* Allowed is mask_interpolation: 0"),
    ],
)
def test_slips_are_told_at_once(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AugmentError, match=message):
        build_transform([{"D4": {}}, {name: arguments}], IMAGES)
