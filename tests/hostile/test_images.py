"""Broken and strange pictures: what training refuses serving refuses, for the same reason; what both read is equal."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.files import read_json
from meltpoint.images import formats
from meltpoint.images.decode import decode
from meltpoint.images.formats import FORMATS
from meltpoint.images.resize import resize
from meltpoint.params.data import Images
from meltpoint.predict.inputs import read_picture
from meltpoint.shards import open_shards

SECTION = "Images"
Expected = Pixels | None
File = tuple[str | bytes, bytes, Expected]  # name, content, and what a person sees, where that is exact

BOX = b"\0\0\0\x18ftyp"  # how MP4, HEIC and others begin
NOISE: Pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def save(image: Image.Image | np.ndarray[Any, Any], kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(content, kind, **options)
    return content.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *others: bytes) -> bytes:
    """A PNG of `data`: rows with their filter bytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(others) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def grey(values: list[int]) -> Pixels:
    return np.repeat(np.array([values], dtype=np.uint8)[..., None], 3, axis=2)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def turned(orientation: int) -> Pixels:
    """The pixels in the file whose upright picture is NOISE (EXIF 2.32, section 4.6.5.1, orientation)."""
    across = orientation >= 5
    stored = NOISE.transpose(1, 0, 2) if across else NOISE
    rows = orientation in (3, 4, 6, 7)
    columns = orientation in (2, 3, 7, 8)
    return np.ascontiguousarray(stored[:: -1 if rows else 1, :: -1 if columns else 1])


def oriented(orientation: int) -> File:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return f"exif-{orientation}.png", save(turned(orientation), exif=exif), NOISE


def sixteen_bits() -> list[File]:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(1, 256)
    rows = b"\0" + ramp.astype(">u2").tobytes()
    clear = chunk(b"tRNS", struct.pack(">H", 0))
    shown = grey([255, *range(1, 256)])
    return [("ramp.png", save(ramp), grey(list(range(256)))), ("clear.png", png(256, 1, 16, 0, rows, clear), shown)]


def twelve_bits() -> list[File]:
    ramp = np.linspace(0, 4095, 256, dtype=np.uint16).reshape(1, 256)
    rows = b"\0" + np.repeat(ramp[..., None], 3, axis=2).astype(">u2").tobytes()
    shown = np.round(ramp[0] * (255 / 4095)).astype(int).tolist()
    return [("grey.png", save(ramp), grey(shown)), ("colour.png", png(256, 1, 16, 2, rows), grey(shown))]


def palette() -> list[File]:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    first = [10, 20, 30]
    return [
        ("palette.png", save(image), np.array([[first, [40, 50, 60]]], np.uint8)),
        ("clear.png", save(image, transparency=1), np.array([[first, [255] * 3]], np.uint8)),
    ]


def hidden_colour() -> list[File]:
    rgba = np.array([[[200, 0, 0, 0], [200, 0, 0, 255]]], dtype=np.uint8)
    return [("alpha.png", save(rgba), np.array([[[255] * 3, [200, 0, 0]]], np.uint8))]


def cmyk() -> list[File]:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    return [
        ("ink.tif", save(red, "TIFF"), np.full((8, 8, 3), [255, 0, 0], np.uint8)),
        ("ink.jpg", save(red, "JPEG"), None),
    ]


def animated() -> list[File]:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#0000ff")]
    red = np.full((8, 8, 3), [255, 0, 0], np.uint8)
    return [
        (f"moving.{kind.lower()}", save(frames[0], kind, save_all=True, append_images=frames[1:]), red)
        for kind in ("GIF", "PNG")
    ]


def float_tiff() -> list[File]:
    return [
        ("float.tif", save(np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 256), "TIFF"), grey(list(range(256))))
    ]


def long_names() -> list[File]:
    return [("樹式 🌳 e\u0301.png", save(NOISE), NOISE), ("n" * 251 + ".png", save(NOISE), NOISE)]


def flat(name: str, width: int, height: int) -> File:
    pixels = np.full((height, width, 3), 5, dtype=np.uint8)
    return name, save(pixels), pixels


def flips_of(kind: str) -> list[File]:
    whole = save(Image.new("RGB", (200, 100), (3, 4, 5)), kind)
    return [
        (f"{place}.{kind.lower()}", flipped(whole, place), None)
        for place in range(60, len(whole) - 20, len(whole) // 25)
    ]


def only(name: str | bytes, content: bytes) -> Callable[[], list[File]]:
    return lambda: [(name, content, None)]


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes a thousand times."""
    content = save(NOISE, "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 1000 + content[-2:]


def with_parts(*parts: bytes) -> bytes:
    """A PNG with parts before its pixels."""
    whole = save(NOISE)
    return whole[:33] + b"".join(parts) + whole[33:]


def with_segments(*bodies: bytes) -> bytes:
    """A JPEG with APP1 segments and no others."""
    whole = save(NOISE, "JPEG")
    segments = [b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies]
    return whole[:2] + b"".join(segments) + whole[20:]


def tags_of_one_value(size: int = 100_000, count: int = 50) -> bytes:
    """Tags of TIFF, as in EXIF, each of which has the same bytes for its value."""
    tags = [
        (256, 3, 1, 8),
        (257, 3, 1, 8),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 3, 1, 8),
    ]
    tags += [(40_000 + number, 7, size, 8) for number in range(count)]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", size + 8) + bytes(size) + table


def gif_of_comments(blocks: int) -> bytes:
    whole = save(Image.new("P", (8, 8)), "GIF")
    frame = whole.index(b",")
    return whole[:frame] + b"!\xfe" + b"\x01c" * blocks + b"\0" + whole[frame:]


def overlapping() -> list[File]:
    tags = tags_of_one_value()
    segments = [b"Exif\0\0" + tags[start : start + 65_000] for start in range(0, len(tags), 65_000)]
    return [
        ("tags.tif", tags, None),
        ("tags.png", with_parts(chunk(b"eXIf", tags)), None),
        ("tags.webp", save(NOISE, "WEBP", exif=b"Exif\0\0" + tags), None),
        ("tags.jpg", with_segments(*segments), None),
    ]


def bad_profile() -> list[File]:
    return [("profile.png", save(NOISE, icc_profile=b"\0" * 500), NOISE)]


MAKERS: dict[str, Callable[[], list[File]]] = {
    "a JPEG that ends too early": lambda: [("cut.jpg", save(NOISE, "JPEG")[:-300], None)],
    "a PNG with a flipped bit anywhere in its pixels": lambda: flips_of("PNG"),
    "a TIFF that ends too early": lambda: [("cut.tif", save(NOISE, "TIFF")[:-900], None)],
    "a PNG whose text unpacks to 100 MB": only(
        "text.png", png(1, 1, 8, 0, b"\0\0", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000))))
    ),
    "a JPEG of 1,000 scans, each over all pixels": lambda: [("scans.jpg", many_scans(), None)],
    "a PNG of 10,001 parts without pixels": only("parts.png", with_parts(chunk(b"teXt", b"") * 10_000)),
    "a PNG of 100,000 parts that have no bytes": only("idat.png", with_parts(chunk(b"IDAT", b"") * 100_000)),
    "a PNG of 101 colour profiles": only("profiles.png", with_parts(chunk(b"iCCP", b"a\0\0") * 101)),
    "a JPEG of 5,000 segments, or of bytes between them": lambda: [
        ("parts.jpg", with_segments(*[b""] * 5000), None),
        ("junk.jpg", save(NOISE, "JPEG")[:2] + b"\xff\xfe\0\2" + bytes(20_000) + save(NOISE, "JPEG")[2:], None),
    ],
    "a JPEG of 101 parts of EXIF": lambda: [("exif.jpg", with_segments(*[b"Exif\0\0MM"] * 101), None)],
    "a GIF whose comment has 10,000 blocks": lambda: [("comment.gif", gif_of_comments(10_000), None)],
    "a PPM in letters with 10,001 comments": only("notes.ppm", b"P3 1 1 255\n" + b"#\n" * 10_001 + b"1 2 3\n"),
    "values of EXIF, or tags of TIFF, that are all the same bytes": overlapping,
    "a JPEG with a video behind it": lambda: [
        (
            "motion.jpg",
            save(NOISE, "JPEG") + b"\xff\xda" * 1000,
            np.asarray(Image.open(io.BytesIO(save(NOISE, "JPEG")))),
        )
    ],
    "16 bits a channel": sixteen_bits,
    "12 bits in 16, grey and coloured": twelve_bits,
    "CMYK": cmyk,
    "a palette, with and without transparency": palette,
    "RGBA with colour hidden below nothing": hidden_colour,
    "EXIF orientation, all eight": lambda: [oriented(number) for number in range(1, 9)],
    "an animation": animated,
    "a float TIFF": float_tiff,
    "a float TIFF with NaN": lambda: [("nan.tif", save(np.array([[0.0, np.nan]], np.float32), "TIFF"), None)],
    "one pixel": lambda: [flat("one.png", 1, 1)],
    "1x4000 and 4000x1 pixels": lambda: [flat("wide.png", 4000, 1), flat("high.png", 1, 4000)],
    "a bomb: a header that promises 60,000x60,000 pixels": only("bomb.png", png(60_000, 60_000, 8, 2, b"")),
    "an honest picture over `data.max_megapixels`": lambda: [flat("large.png", 1100, 1000)],
    "HTML called .jpg": only("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>"),
    "SVG": only("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "PDF": only("paper.pdf", b"%PDF-1.7\n%\xe2\xe3"),
    "JPEG XL": only("photo.jxl", b"\xff\x0a\xfa\x7f" + bytes(30)),
    "JPEG XR": only("photo.jxr", b"II\xbc\x01" + bytes(30)),
    "an icon": only("icon.ico", b"\0\0\1\0\1\0" + bytes(30)),
    "a pointer of Git LFS": only("photo.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "DICOM without its preamble": only("scan.dcm", b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + bytes(30)),
    "PSD": only("layers.psd", b"8BPS\0\1" + bytes(30)),
    "a video": only("film.mp4", BOX + b"isom" + bytes(30)),
    "a camera's raw file, whose preview opens as a TIFF": lambda: [
        ("photo.nef", save(NOISE, "TIFF", tiffinfo={254: 1, 330: 8}), None)
    ],
    "HEIC without the extra `heif`": only("photo.heic", BOX + b"heic" + bytes(30)),
    "DICOM without the extra `dicom`": only("scan.dcm", bytes(128) + b"DICM" + bytes(30)),
    "EPS": only("figure.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"),
    "zero bytes": only("empty.png", b""),
    "a picture of a format that is not in the list (TGA)": lambda: [("old.png", save(NOISE, "TGA"), None)],
    "names in any script, and as long as a name may be": long_names,
    "names that differ in capitals alone": lambda: [("Photo.png", save(NOISE), NOISE), flat("photo.png", 3, 3)],
    "a name that is not UTF-8": only(b"caf\xe9.png", save(NOISE)),
    "a broken colour profile": bad_profile,
}


def seen(paths: list[Path], card: Any, resizing: str) -> None:
    """Every way in gives the same tensor: the file at training, its path and its bytes at serving."""
    images = Images(side=32, resize=resizing, interpolation="area")
    card.images = images
    for path in paths:
        trained = resize(decode(path, float("inf"), card.depths), images)
        assert trained.shape == (32, 32, 3)
        for source in (path, str(path), path.read_bytes()):
            served = read_picture(source, card, None, False)
            assert served.error is None
            np.testing.assert_array_equal(served.pixels, trained)


def test_images(row: Any, workplace: Any, card: Any, check_refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if "without the extra" in row.name:
        monkeypatch.setattr(formats, "find_spec", lambda name: None)
        monkeypatch.setattr(formats, "readable", lambda: FORMATS)
    files = MAKERS[row.name]()
    for name, content, _ in files:
        workplace.add(name, content)
    code, said = workplace.stage("download")
    if row.fate == "read":
        assert code == 0, said
        assert all(quote in said for quote in row.quotes)
        card.depths = read_json(workplace.folder / "data/depths.json")
        raw = open_shards(workplace.folder / "data/raw")
        paths = [workplace.folder / "photos/cat" / str(name) for name, _, _ in files]
        for path, (name, content, expected) in zip(paths, files, strict=True):
            assert raw.read(f"cat/{name}") == content
            if expected is not None:
                np.testing.assert_array_equal(decode(path, 1, card.depths), expected)
        for resizing in ("squash", "crop", "letterbox"):
            seen(paths, card, resizing)
        return
    assert row.fate == "skipped"
    check_refused(row, code, said)
    assert "data.max_bad allows 0" in said
    assert not workplace.left()
    check_skipped(row, workplace, files, card)


def check_skipped(row: Any, workplace: Any, files: list[File], card: Any) -> None:
    """With `data.max_bad` the rest is used, and each of the files is listed; serving gives the same reason."""
    workplace.params["data"]["max_bad"] = len(files)
    code, said = workplace.stage("download")
    assert code == 0, said
    assert f"{len(files)} unusable" in said
    reasons = [aside["reason"] for aside in workplace.report()["unusable"]]
    assert len(reasons) == len(files)
    assert len(workplace.samples()) == 6
    for name, content, _ in files:
        if isinstance(name, str):
            assert read_picture(content, card, None, False).error in reasons
    assert all(any(quote in reason for quote in row.quotes) for reason in reasons)


def test_every_row_has_its_pictures(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
