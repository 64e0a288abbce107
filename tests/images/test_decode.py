"""What a person sees in a picture is what the decoder gives; what is no whole picture is refused with a reason."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from meltpoint.bit_depth import Inspected
from meltpoint.images.decode import ImageError, decode, inspect, read_grey

UPRIGHT = np.zeros((4, 6, 3), dtype=np.uint8)
UPRIGHT[:2, :3] = (250, 10, 10)
UPRIGHT[3, 5] = (10, 10, 250)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def as_png(array: np.ndarray) -> bytes:
    return encoded(Image.fromarray(array), "PNG")


def stored_as(orientation: int) -> np.ndarray:
    """The pixels in the file whose upright picture is UPRIGHT (EXIF 2.32, section 4.6.5.1, orientation)."""
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(turns[orientation](UPRIGHT))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_every_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(stored_as(orientation)), kind, exif=exif, **options)
    np.testing.assert_array_equal(decode(content, 1), UPRIGHT)


@pytest.mark.parametrize(("smallest", "scale"), [(300, 1), (101, 1), (100, 2), (50, 4), (25, 8), (1, 8)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_jpeg_is_reduced_as_far_as_its_sides_stay_long_enough(kind: str, smallest: int, scale: int) -> None:
    height, width = 200, 320
    across = np.linspace(0, 255, width, dtype=np.uint8)
    content = encoded(Image.fromarray(np.tile(across, (height, 1))), kind)
    scale = scale if kind == "JPEG" else 1
    found = decode(content, 1, smallest=smallest)
    assert found.shape == (height // scale, width // scale, 3)
    shrunk = across.reshape(-1, scale).mean(1)
    assert np.abs(found.astype(int) - shrunk[None, :, None]).max() <= 4
    with pytest.raises(ImageError, match="too many pixels"):
        decode(content, 0.05, smallest=smallest)


def test_a_reduced_jpeg_is_upright_and_read_to_its_end() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (128, 256, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(pixels), "JPEG", exif=exif)
    assert decode(content, 1, smallest=32).shape == (64, 32, 3)
    with pytest.raises(ImageError, match="truncated"):
        decode(content[: len(content) // 2], 1, smallest=32)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_plain_pixels_come_back_as_they_are(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(as_png(pixels), 1), pixels)


@pytest.mark.parametrize(
    ("low", "high", "black", "white"),
    [(0.0, 1.0, 0, 255), (0.0, 0.5, 0, 128), (0.0, 255.0, 0, 255), (0.0, 65535.0, 0, 255), (-3.0, 9.0, 0, 255)],
)
def test_floats_are_scaled_by_the_first_range_that_holds_them(low: float, high: float, black: int, white: int) -> None:
    values = np.linspace(low, high, 50, dtype=np.float32).reshape(1, 50)
    pixels = decode(encoded(Image.fromarray(values), "TIFF"), 1)
    assert (pixels[0, 0, 0], pixels[0, -1, 0]) == (black, white)
    assert len(np.unique(pixels)) > 40


def test_transparent_pixels_are_white_and_half_transparent_ones_half_white() -> None:
    hidden = np.array([[[200, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 128]]], dtype=np.uint8)
    np.testing.assert_array_equal(decode(as_png(hidden), 1)[0], [[255] * 3, [200, 0, 0], [127] * 3])
    grey = np.array([[[9, 0], [9, 255]]], dtype=np.uint8)
    np.testing.assert_array_equal(decode(as_png(grey), 1)[0], [[255] * 3, [9] * 3])


def test_cmyk_bilevel_and_grey_become_rgb() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    np.testing.assert_allclose(decode(encoded(red, "TIFF"), 1)[0, 0], [255, 0, 0], atol=2)
    np.testing.assert_array_equal(decode(encoded(Image.new("1", (2, 2), 1), "PNG"), 1), np.full((2, 2, 3), 255))
    np.testing.assert_array_equal(decode(encoded(Image.new("L", (2, 2), 7), "PNG"), 1), np.full((2, 2, 3), 7))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#0000ff")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(content, 1)[4, 4], [255, 0, 0], atol=4)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000"])
@pytest.mark.parametrize("part", [0.4, 0.8])
def test_a_truncated_picture_is_refused_in_every_format(
    kind: str, part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as some library may have left it
    content = encoded(noise(), kind)
    with pytest.raises(ImageError) as error:
        decode(content[: int(len(content) * part)], 1)
    assert error.value.reason in ("truncated", "damaged")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not an image"),
        (b"\xd7\xcd\xc6\x9a" + bytes(60), "format not allowed: WMF"),
        (bytes(100), "not an image"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"photo\.jpg.*Allowed are.*Replace it") as error:
        inspect(path, 1)
    assert error.value.reason.partition(";")[0] == reason


def test_files_of_every_format_outside_the_list_are_refused() -> None:
    for kind in ("PCX", "TGA", "SGI", "ICO"):
        with pytest.raises(ImageError):
            decode(encoded(noise(), kind), 1)


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]), st.integers(0, 300))
def test_damage_never_ends_in_a_foreign_error(damage: bytes, kind: str, place: int) -> None:
    content = encoded(noise().resize((8, 8)), kind)
    broken = content[:place] + damage + content[place + len(damage) :]
    with suppress(ImageError):
        assert decode(broken, 1).dtype == np.uint8


def test_a_missing_file_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as error:
        decode(tmp_path / "gone.png", 1)
    assert error.value.reason == "unreadable file"


def test_inspect_gives_width_and_height_as_decoded(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(Image.fromarray(stored_as(6)), "PNG", exif=exif))
    assert inspect(path, 1) == Inspected(6, 4, turned=True, range=None)


def test_grey_is_the_luma_of_what_decode_gives() -> None:
    files = {"colours": as_png(UPRIGHT), "grey": as_png(UPRIGHT[:, :, 0])}
    expected = np.asarray(Image.fromarray(UPRIGHT).convert("L"))
    np.testing.assert_array_equal(read_grey("colours", files.__getitem__), expected)
    np.testing.assert_array_equal(read_grey("grey", files.__getitem__), UPRIGHT[:, :, 0])


def test_messages_name_a_picture_that_is_given_as_bytes() -> None:
    with pytest.raises(ImageError, match="The picture 'cat/1.png' cannot be used: not an image"):
        read_grey("cat/1.png", lambda path: b"no picture")
    with pytest.raises(ImageError, match="The picture 'cat/1.png' cannot be used"):
        decode(b"no picture", 1, name="cat/1.png")
    with pytest.raises(ImageError, match="The picture of 10 bytes cannot be used"):
        decode(b"no picture", 1)
