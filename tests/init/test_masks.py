"""Folders of images and masks: how they pair, what the classes are, and that photographs are not taken for masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.errors import UserError

Draw = Callable[..., Path]
Init = Callable[..., Any]
SIZE = (64, 48)


def parts(train: str, val: str | None = None, test: str | None = None) -> dict[str, str]:
    """A folder for each split."""
    return {part: folder for part, folder in (("train", train), ("val", val), ("test", test)) if folder}


def mask(path: Path, values: list[Any], mode: str = "L") -> None:
    """Stripes of values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.array([values[row * len(values) // SIZE[1]] for row in range(SIZE[1])], dtype=np.uint8)
    pixels = np.repeat(rows[:, None], SIZE[0], axis=1)
    Image.fromarray(pixels, mode if mode == "RGB" else None).save(path)


@pytest.mark.filterwarnings("ignore:'mode' parameter")
@pytest.mark.parametrize(
    ("images", "masks", "ending"),
    [
        ({"all": "images"}, {"all": "masks"}, ".png"),
        (parts("train", "val", "test"), parts("trainannot", "valannot", "testannot"), ".png"),
        (parts("train/images", test="test/images"), parts("train/labels", test="test/labels"), "_mask.png"),
        (
            parts("images/training", "images/validation"),
            parts("annotations/training", "annotations/validation"),
            ".png",
        ),
        (parts("train_images", "valid_images"), parts("train_labels", "valid_labels"), "_L.png"),
        ({"all": "."}, {"all": "."}, "_mask.png"),
    ],
)
def test_layouts(
    place: Path, draw: Draw, init: Init, images: dict[str, str], masks: dict[str, str], ending: str
) -> None:
    for part, folder in images.items():
        for number in range(5):
            draw(place / "street" / folder / f"{part}_{number}.jpg", SIZE)
            mask(place / "street" / masks[part] / f"{part}_{number}{ending}", [0, 1, 2])
    ran = init("street")
    assert ran.raw["data"]["source"] == {
        "kind": "masks", "path": "street", "images": images, "masks": masks, "lists": None,
        "mask_name": f"{{stem}}{ending}",
    }  # fmt: skip
    assert ran.params.data.group is None, "the preset's groups are of its own images"
    assert ran.params.register_.floors == {}, "and its floors are of its own heads"
    assert ran.params.task.kind == "segmentation"
    assert ran.params.main_head == "street"
    assert ran.params.compare.metric == "miou"
    assert list(ran.raw["data"]["labels"]["street"]["classes"]) == ["class_0", "class_1", "class_2"]
    assert "nothing names the classes" in ran.out


@pytest.fixture
def street(place: Path, draw: Draw) -> Path:
    for number in range(6):
        draw(place / "street" / "images" / f"{number}.jpg", SIZE)
    return place / "street"


def label_of(ran: Any) -> dict[str, Any]:
    label: dict[str, Any] = ran.raw["data"]["labels"]["street"]
    return label


@pytest.mark.parametrize(
    ("values", "listed", "ids", "void"),
    [
        ([0, 255], None, {"background": 0, "object": 255}, []),
        ([0, 1, 255], None, {"background": 0, "object": 1}, [255]),
        ([0, 2], "sky\nroad\ncar\n", {"sky": 0, "car": 2}, []),
    ],
)
def test_ids_are_named_and_255_is_void_beside_two_others(
    street: Path, init: Init, values: list[int], listed: str | None, ids: dict[str, int], void: list[int]
) -> None:
    if listed:
        (street / "classes.txt").write_text(listed)
    for number in range(6):
        mask(street / "masks" / f"{number}.png", values)
    label = label_of(init("street"))
    assert {name: one["id"] for name, one in label["classes"].items()} == ids
    assert label["void"] == void


def test_colours_and_their_names(street: Path, init: Init) -> None:
    (street / "class_dict.csv").write_text("name,r,g,b\nsky,0,0,128\nroad,128,64,128\n")
    for number in range(6):
        pixels = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
        pixels[:20], pixels[20:] = (0, 0, 128), (128, 64, 128)
        (street / "masks").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(street / "masks" / f"{number}.png")
    ran = init("street")
    label = label_of(ran)
    assert label["pixels"] == "colours"
    assert {name: one["colour"] for name, one in label["classes"].items()} == {"sky": "#000080", "road": "#804080"}
    assert "those of class_dict.csv" in ran.out
    assert "nothing names" not in ran.out


def test_faces_with_and_without_masks_are_classes(place: Path, draw: Draw, init: Init) -> None:
    for kind in ("with_mask", "without_mask"):
        for number in range(4):
            draw(place / "faces" / kind / f"{number}.png")
    ran = init("faces")
    assert ran.params.task.kind == "classification"
    assert "with_mask 4, without_mask 4" in ran.out


def test_masks_that_lost_their_values_are_refused(street: Path, init: Init) -> None:
    for number in range(6):
        mask(street / "masks" / f"{number}.png", list(range(48)))
    for number in range(6):
        mask(street / "masks" / f"{number}.png", [0, number + 1])
    Image.fromarray(np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)).save(street / "masks" / "3.png")
    with pytest.raises(UserError, match="Save all in one way"):
        init("street")


def save_colours(path: Path, mode: str, white: tuple[int, ...], black: tuple[int, ...]) -> None:
    """A mask of two halves."""
    path.parent.mkdir(exist_ok=True)
    picture = Image.new(mode, SIZE, white)
    picture.paste(black, (0, 0, SIZE[0], SIZE[1] // 2))
    picture.save(path)


@pytest.mark.parametrize(
    ("mode", "white"), [("RGBA", (255, 255, 255, 0)), ("RGBA", (255, 0, 0, 128)), ("LA", (255, 0)), ("LA", (90, 128))]
)
def test_masks_that_download_refuses_are_told_at_once(
    street: Path, init: Init, mode: str, white: tuple[int, ...]
) -> None:
    black = (0,) * (len(white) - 1) + (255,)
    for number in range(6):
        save_colours(street / "masks" / f"{number}.png", mode, white, black)
    with pytest.raises(UserError, match=r"None of the masks can be used: 0.png \(.*transparent and not black"):
        init("street")
    for number in range(1, 6):
        save_colours(street / "masks" / f"{number}.png", mode, (*white[:-1], 255), black)
    out = " ".join(init("street").out.split())
    assert "look here: 1 mask of 6 that were read cannot be used: 0.png (" in out
    assert "save the mask without alpha" in out


@pytest.mark.parametrize("fits", [True, False])
def test_images_that_exif_turns_are_told(street: Path, init: Init, fits: bool) -> None:
    turned = Image.Exif()
    turned[0x0112] = 3 if fits else 6
    for number in range(6):
        mask(street / "masks" / f"{number}.png", [0, 1])
        path = street / "images" / f"{number}.jpg"
        Image.open(path).save(path, exif=turned)
    if fits:
        out = " ".join(init("street").out.split())
        assert "look here: 6 images with masks are turned or mirrored by their EXIF orientation" in out
        return
    with pytest.raises(UserError, match="64x48 pixels and its image 48x64.*EXIF turns the image upright, and not its"):
        init("street")
