"""Values of more than 8 bits in every usual file: what is stored is what is read, on the dataset's scale."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meltpoint.bit_depth import Range, choose_depths
from meltpoint.images.decode import ImageError, decode, inspect, read_colours, read_grey

RAMP = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
COLOURS = np.stack([RAMP, RAMP.T, 4095 - RAMP], axis=2)
TWELVE = choose_depths([Range("integer", 0, 4095)])


def eight(values: np.ndarray) -> np.ndarray:
    return np.round(values * (255 / 4095)).astype(np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png16(values: np.ndarray, colour: int, *others: bytes) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(others) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff16(values: np.ndarray, orientation: int = 1) -> bytes:
    """A TIFF of colours of 16 bits, without compression (TIFF 6.0, section 6)."""
    height, width, channels = values.shape
    data, start = values.astype("<u2").tobytes(), 8 + 2 + 12 * 10 + 4
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, start), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, start + 2 * channels), (274, 3, 1, orientation), (277, 3, 1, channels), (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return head + struct.pack(f"<{channels}H", *[16] * channels) + data


def saved(values: np.ndarray, kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    "content", [saved(RAMP, "PNG"), saved(RAMP, "TIFF"), saved(RAMP.astype(np.int32), "TIFF")], ids=["PNG", "TIFF", "I"]
)
def test_twelve_bits_of_grey_are_as_bright_as_they_are(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "deep").write_bytes(content)
    seen = inspect(tmp_path / "deep", 1)
    assert (seen.width, seen.height, seen.range) == (8, 8, Range("integer", 0, 4095))
    np.testing.assert_array_equal(decode(content, 1, TWELVE), np.repeat(eight(RAMP)[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_grey("deep", lambda name: (tmp_path / name).read_bytes(), TWELVE), eight(RAMP))
    assert decode(content, 1).max() == 16, "without a scale 65535 is white"


@pytest.mark.parametrize("content", [png16(COLOURS, 2), tiff16(COLOURS)], ids=["PNG", "TIFF"])
def test_twelve_bits_of_colour_are_as_bright_as_they_are(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "deep").write_bytes(content)
    assert inspect(tmp_path / "deep", 1).range == Range("integer", 0, 4095)
    np.testing.assert_array_equal(decode(content, 1, TWELVE), eight(COLOURS))


def test_values_beyond_the_scale_are_clipped_and_other_kinds_keep_theirs() -> None:
    brighter = np.full((2, 2), 65535, dtype=np.uint16)
    assert decode(saved(brighter, "PNG"), 1, TWELVE).min() == 255
    fractions = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    assert decode(saved(fractions, "TIFF"), 1, TWELVE)[0, :, 0].tolist() == [0, 128, 255]


def test_negative_values_keep_their_order_and_their_scale() -> None:
    hounsfield = choose_depths([Range("integer", -1000, 1000)])
    one, other = (np.full((2, 2), value, dtype=np.int32) for value in (-1000, 0))
    assert decode(saved(one, "TIFF"), 1, hounsfield).max() == 0
    assert decode(saved(other, "TIFF"), 1, hounsfield).max() == 128


def test_transparent_deep_pixels_are_white() -> None:
    alpha = np.array([[65535, 0]], dtype=np.uint16)
    colours = np.dstack([np.full((1, 2, 3), 2048, dtype=np.uint16), alpha])
    assert decode(png16(colours, 6), 1, TWELVE)[0, :, 0].tolist() == [128, 255]
    grey = np.dstack([np.full((1, 2, 1), 2048, dtype=np.uint16), alpha])
    assert decode(png16(grey, 4), 1, TWELVE)[0, :, 0].tolist() == [128, 255]
    key = chunk(b"tRNS", struct.pack(">HHH", 0, 0, 4095))
    assert decode(png16(COLOURS, 2, key), 1, TWELVE)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_colours_are_turned_as_shallow_ones(kind: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = COLOURS[:3, :5]
    if kind == "PNG":
        content = png16(values, 2, chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    else:
        content = tiff16(values, orientation)
    shallow = io.BytesIO()
    Image.fromarray(eight(values)).save(shallow, "PNG", exif=exif)
    np.testing.assert_array_equal(decode(content, 1, TWELVE), decode(shallow.getvalue(), 1))
    (tmp_path / "turned").write_bytes(content)
    assert inspect(tmp_path / "turned", 1).turned == (orientation > 1)


def test_masks_of_deep_colours_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(png16(COLOURS, 2))
    with pytest.raises(ImageError) as caught:
        read_colours(tmp_path / "mask.png", (8, 8))
    assert caught.value.reason == "no colours of 8 bits in it"
