"""Masks of any kind become the same ids; what no class stands for is named and counted; nothing is blended."""

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meltpoint.images.decode import ImageError
from meltpoint.images.mask_files import (
    MaskError,
    decode_ids,
    encode_ids,
    normalise,
    paint_classes,
    resize_mask,
)
from meltpoint.images.resize import resize
from meltpoint.params.data import Images, MaskLabel
from meltpoint.tables import IGNORED

SKY, ROAD, CAR, NOTHING = (128, 128, 128), (128, 64, 128), (64, 0, 128), (0, 0, 0)
TRUTH = np.array([[0, 0, 1, 1], [0, 2, 2, IGNORED], [1, 1, 1, IGNORED]], dtype=np.uint8)
COLOURS = np.zeros((256, 3), dtype=np.uint8)
COLOURS[[0, 1, 2, IGNORED]] = [SKY, ROAD, CAR, NOTHING]
IDS = np.zeros(256, dtype=np.uint8)
IDS[[0, 1, 2, IGNORED]] = [7, 4, 255, 11]  # neither in order nor in one row


def label(pixels: Literal["ids", "colours"]) -> MaskLabel:
    classes = {name: (int(IDS[id_]), "#{:02X}{:02x}{:02x}".format(*COLOURS[id_])) for id_, name in enumerate("src")}
    return MaskLabel.model_validate(
        {
            "kind": "mask",
            "column": "mask",
            "pixels": pixels,
            "classes": {name: {"id": id_, "colour": colour} for name, (id_, colour) in classes.items()},
            "void": [11] if pixels == "ids" else ["#000000"],
        }
    )


def as_palette(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    return image


def as_coloured_palette(truth: np.ndarray, **info: int) -> Image.Image:
    image = Image.fromarray(truth)
    image.putpalette(COLOURS.ravel().tolist())
    image.info |= info
    return image


def transparent(alpha: int, colour: tuple[int, int, int]) -> Image.Image:
    """The truth as RGBA, whose void is of that alpha and stores that colour."""
    rgba = np.dstack([COLOURS[TRUTH], np.full(TRUTH.shape, 255, dtype=np.uint8)])
    rgba[TRUTH == IGNORED] = (*colour, alpha)
    return Image.fromarray(rgba)


GREY, RGB = Image.fromarray(IDS[TRUTH]), Image.fromarray(COLOURS[TRUTH])


def written(image: Image.Image, pixels: Literal["ids", "colours"], folder: Path) -> tuple[np.ndarray, list[int]]:
    path = folder / ("origin.tif" if image.mode in ("CMYK", "F") else "origin.png")
    image.save(path)
    content, counts = normalise(path, label(pixels), (4, 3))
    assert counts.dtype == np.int64
    return decode_ids(content), counts.tolist()


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        (Image.fromarray(IDS[TRUTH]), "ids"),
        (as_palette(IDS[TRUTH]), "ids"),
        (Image.fromarray(IDS[TRUTH].astype(np.uint16)), "ids"),
        (Image.fromarray(COLOURS[TRUTH]), "colours"),
        (Image.fromarray(COLOURS[TRUTH]).convert("RGBA"), "colours"),
        (as_coloured_palette(TRUTH), "colours"),
        (transparent(0, NOTHING), "colours"),
        (as_coloured_palette(TRUTH, transparency=IGNORED), "colours"),
    ],
    ids=["grey", "palette", "16 bits", "rgb", "rgba", "colours", "transparent black", "transparent in a palette"],
)
def test_masks_of_every_kind_become_places_of_classes(
    image: Image.Image, pixels: Literal["ids", "colours"], tmp_path: Path
) -> None:
    mask, counts = written(image, pixels, tmp_path)
    np.testing.assert_array_equal(mask, TRUTH)
    assert counts == [3, 5, 2, 2]


def test_a_stored_mask_is_coloured_to_people(tmp_path: Path) -> None:
    GREY.save(tmp_path / "origin.png")
    content, _ = normalise(tmp_path / "origin.png", label("ids"), (4, 3))
    with Image.open(BytesIO(content)) as image:
        assert (image.mode, image.format) == ("P", "PNG")
        shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(shown[TRUTH != IGNORED], COLOURS[TRUTH][TRUTH != IGNORED])


@given(st.data())
def test_an_encoded_mask_is_read_as_it_was(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 255))
    mask = np.random.default_rng(classes).choice([*range(classes), IGNORED], (5, 7)).astype(np.uint8)
    palette = [f"#{number:06x}" for number in range(classes)]
    content = encode_ids(mask, palette)
    assert content == encode_ids(mask, palette)
    with Image.open(BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(image), mask)


@pytest.mark.parametrize(
    ("pixels", "values", "reason"),
    [
        ("ids", [[7, 7, 4, 9]], "the unknown id 9 on 1 pixels"),
        ("ids", [[8, 5, 5, 4]], "the unknown id 5 on 2 pixels, 8 on 1 pixels"),
        ("ids", [[0, 1, 2, 3]], "the unknown id 0 on 1 pixels, 1 on 1 pixels, 2 on 1 pixels and 1 more"),
        ("colours", [[SKY, (1, 2, 3), (1, 2, 3), ROAD]], "the unknown colour #010203 on 2 pixels"),
    ],
)
def test_what_no_class_stands_for_is_named_and_counted(
    pixels: Literal["ids", "colours"], values: list[Any], reason: str, tmp_path: Path
) -> None:
    Image.fromarray(np.array(values, dtype=np.uint8)).save(tmp_path / "odd.png")
    with pytest.raises(MaskError, match="'odd.png' has the unknown .* Allowed are .* Correct the mask") as caught:
        normalise(tmp_path / "odd.png", label(pixels), (4, 1))
    assert (
        caught.value.reason == f"{reason}; give it to a class as its `{pixels.removesuffix('s')}`, or list it in `void`"
    )


def test_the_255_of_a_mask_of_two_values_is_to_be_given_to_the_class(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).save(tmp_path / "odd.png")
    classes = {name: {"id": number, "colour": f"#00000{number}"} for number, name in enumerate("ab")}
    given = {"kind": "mask", "column": "mask", "pixels": "ids", "classes": classes, "void": []}
    with pytest.raises(MaskError) as caught:
        normalise(tmp_path / "odd.png", MaskLabel.model_validate(given), (2, 1))
    assert "255 is what many tools paint an object with: give it to a class as its `id`" in caught.value.reason


@pytest.mark.parametrize(
    ("image", "pixels", "reason"),
    [
        (GREY.resize((8, 6)), "ids", "it has 8x6 pixels and its image 4x3"),
        (GREY.transpose(Image.Transpose.ROTATE_90), "ids", "it has 3x4 pixels and its image 4x3"),
        (RGB.resize((8, 6)), "colours", "it has 8x6 pixels and its image 4x3"),
        (RGB, "ids", "no ids in it"),
        (Image.fromarray(np.full((3, 4), 256, dtype=np.uint16)), "ids", "ids over 255"),
        *[(Image.new(mode, (4, 3)), "colours", "no colours of 8 bits in it") for mode in ("CMYK", "I;16", "F")],
        *[
            (transparent(alpha, tuple(bytes.fromhex(colour))), "colours", "2 pixels are transparent and not black, as "
             f"#{colour} at alpha {alpha}: save the mask without alpha")
            for alpha, colour in ((0, "804080"), (0, "ffffff"), (128, "000000"), (254, "804080"))
        ],
    ],
)  # fmt: skip
def test_what_cannot_be_a_mask_of_the_image_is_refused(
    image: Image.Image, pixels: Literal["ids", "colours"], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match=r"origin\.") as caught:
        written(image, pixels, tmp_path)
    assert caught.value.reason == reason


def test_a_mask_is_turned_as_its_file_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(IDS[TRUTH]).save(tmp_path / "turned.png", exif=exif)
    content, _ = normalise(tmp_path / "turned.png", label("ids"), (4, 3))
    np.testing.assert_array_equal(decode_ids(content), TRUTH[::-1, ::-1])


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(8, 40),
    st.sampled_from(["squash", "crop", "letterbox"]),
    st.integers(0, 2**32),
)
def test_a_resized_mask_holds_no_new_class(
    height: int, width: int, size: int, way: Literal["squash", "crop", "letterbox"], seed: int
) -> None:
    images = Images(side=size, resize=way, interpolation="bicubic")
    mask = np.random.default_rng(seed).choice([0, 9, 200], (height, width)).astype(np.uint8)
    resized = resize_mask(mask, images)
    assert (resized.shape, resized.dtype) == ((size, size), np.uint8)
    assert set(np.unique(resized)) <= set(np.unique(mask)) | ({IGNORED} if way == "letterbox" else set())


@pytest.mark.parametrize("way", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("shape", [(30, 90), (90, 30), (64, 64), (11, 17)])
def test_a_mask_goes_where_its_image_goes(way: Literal["squash", "crop", "letterbox"], shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    mask = ((rows * 3 // shape[0]) + 3 * (columns * 3 // shape[1])).astype(np.uint8)
    levels = (20 * mask + 40).astype(np.uint8)
    image = resize(np.repeat(levels[..., None], 3, axis=2), Images(side=24, resize=way, interpolation="area"))
    moved = resize_mask(mask, Images(side=24, resize=way, interpolation="area"))
    expected = np.where(moved == IGNORED, 0, 20.0 * moved + 40)
    assert (np.abs(image[..., 0] - expected) <= 20 * 4).all()
    assert (np.abs(image[..., 0] - expected) < 1).mean() > 0.75  # all but borders, which only an image can blend


def test_paint_colours_classes_and_leaves_the_ignored() -> None:
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    mask = np.array([[0, 1, IGNORED]], dtype=np.uint8)
    painted = paint_classes(image, mask, ["#ffffff", "#000000"], 0.5)
    assert painted[0, :, 0].tolist() == [178, 50, 100]
    assert paint_classes(image, mask, ["#ff8000", "#000000"], 1.0)[0, 0].tolist() == [255, 128, 0]
