"""Pictures are known by their first bytes."""

import io

import pytest
from PIL import Image

from meltpoint.signatures import is_image, what_it_is


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000"])
def test_images_are_known_by_their_first_bytes(kind: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (9, 9)).save(content, kind)
    assert is_image(content.getvalue()[:16])


@pytest.mark.parametrize("start", [b"<!doctype html><", b"%PDF-1.7........", b"\0" * 16, b"", b"RIFF....WAVEfmt "])
def test_other_things_are_no_images(start: bytes) -> None:
    assert not is_image(start)


@pytest.mark.parametrize("installed", [True, False])
def test_heic_is_an_image_where_its_extra_is_installed(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr("meltpoint.signatures.find_spec", lambda _: object() if installed else None)
    assert is_image(b"\0\0\0\x18ftypheic....") == installed
    assert not is_image(b"\xff\x0a" + bytes(14))


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC, which needs the extra: pip install pillow-heif"),
        (b"\xff\x0a", "JPEG XL, which is not read"),
        (b"<!doctype html>", "no image but image/jpeg"),
    ],
)
def test_images_that_are_not_read_are_named(start: bytes, told: str) -> None:
    assert what_it_is(start, "image/jpeg; charset=x") == told
