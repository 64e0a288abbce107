"""Files of formats that are not read are called by their names, with the way to a picture."""

import io
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from meltpoint.images import formats
from meltpoint.images.decode import ImageError, decode

BOX = b"\0\0\0\x18ftyp"
STARTS = {
    "JPEG XL": b"\xff\x0a" + bytes(20),
    "JPEG XR": b"II\xbc\x01" + bytes(20),
    "ICO (icon)": b"\0\0\1\0\1\0" + bytes(20),
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n",
    "DICOM without its preamble": b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
    "PSD (Photoshop)": b"8BPS\0\1",
    "PDF": b"%PDF-1.7\n",
    "SVG": b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "video (MP4 or QuickTime)": BOX + b"isom" + bytes(20),
    "video (Matroska or WebM)": b"\x1aE\xdf\xa3" + bytes(20),
    "video (AVI)": b"RIFF\0\0\0\0AVI LIST",
    "raw of a Canon camera": BOX + b"crx " + bytes(20),
    "raw of a Fujifilm camera": b"FUJIFILMCCD-RAW 0201",
    "OpenEXR": b"v/1\x01" + bytes(20),
    "FITS": b"SIMPLE  =                    T",
}


@pytest.mark.parametrize("name", STARTS)
def test_formats_that_are_not_read_are_named_with_the_way_to_a_picture(name: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(STARTS[name], 1)
    told, _, mend = caught.value.reason.partition("; ")
    assert told == f"format not allowed: {name}"
    assert len(mend) > 10


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No extra is installed."""
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    formats.readable.cache_clear()
    yield
    formats.readable.cache_clear()


@pytest.mark.parametrize(
    ("content", "name", "package"),
    [
        (BOX + b"heic" + bytes(20), "HEIC", "pillow-heif"),
        (BOX + b"mif1" + bytes(20), "HEIC", "pillow-heif"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM", "pydicom"),
    ],
)
@pytest.mark.usefixtures("bare")
def test_formats_of_extras_name_the_extra(content: bytes, name: str, package: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content, 1)
    assert caught.value.reason.startswith(f"format not allowed: {name}; install the extra: pip install {package}; or ")


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="needs the extra heif")
def test_heic_is_read_with_its_extra() -> None:
    formats.readable()
    pixels = np.full((32, 48, 3), (200, 30, 30), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "HEIF", quality=95)
    np.testing.assert_allclose(decode(content.getvalue(), 1).astype(int), pixels, atol=6)
    with pytest.raises(ImageError):
        decode(content.getvalue()[:-200], 1)
    assert "pillow_heif" in sys.modules


@pytest.mark.parametrize("tags", [{254: 1, 330: 8}, {50706: b"\1\4\0\0"}])
def test_a_preview_in_a_raw_file_is_no_picture(tags: dict[int, object]) -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 6)).save(content, "TIFF", tiffinfo=tags)
    with pytest.raises(ImageError) as caught:
        decode(content.getvalue(), 1)
    assert caught.value.reason.startswith("format not allowed: raw of a camera")
